export type * from "@hairpin/shared/kubernetes";
