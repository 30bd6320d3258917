import { defineConfig } from "vitest/config";

// `unit` runs anywhere. `mesh` needs network namespaces (root, or unprivileged user namespaces) and runs one file at a
// time in a process of its own: descriptor counts, the current netns and a crash must not leak into another test.
// `cluster` exists when E2E_KUBECONFIG names one (scripts/cluster/e2e.ts): the same scenarios, and what only a cluster can show.

const cluster = {
  test: {
    name: "cluster",
    include: ["e2e/*.{mesh,cluster}.test.ts"],
    pool: "forks" as const,
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 300_000,
  },
};

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["packages/*/src/**/*.test.ts", "scripts/**/*.test.ts", "bench/**/*.test.ts"],
          exclude: ["**/*.mesh.test.ts", "**/node_modules/**"],
          pool: "forks",
        },
      },
      {
        test: {
          name: "mesh",
          include: [
            "packages/*/src/**/*.mesh.test.ts",
            "bench/src/**/*.mesh.test.ts",
            "e2e/**/*.mesh.test.ts",
            "interop/**/*.mesh.test.ts",
          ],
          pool: "forks",
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      ...(process.env["E2E_KUBECONFIG"] === undefined ? [] : [cluster]),
    ],
  },
});
