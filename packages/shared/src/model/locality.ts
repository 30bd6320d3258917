/** Where a workload runs, from the labels of its node. Empty strings: not known. */
export interface Locality {
  readonly region: string;
  readonly zone: string;
  readonly subzone: string;
}
