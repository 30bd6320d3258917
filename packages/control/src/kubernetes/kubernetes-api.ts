export { createKubernetesApi } from "@hairpin/shared/kubernetes";
