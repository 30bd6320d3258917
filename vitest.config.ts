import { defineConfig } from "vitest/config";

// `unit` runs anywhere. `mesh` needs network namespaces (root, or unprivileged user namespaces) and runs one file at a
// time in a process of its own: descriptor counts, the current netns and a crash must not leak into another test.

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
          include: ["packages/*/src/**/*.mesh.test.ts", "bench/src/**/*.mesh.test.ts", "e2e/**/*.mesh.test.ts"],
          pool: "forks",
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
