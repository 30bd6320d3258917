export { ApiError, apiErrorFromStatus } from "@hairpin/shared/kubernetes";
