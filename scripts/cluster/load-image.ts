import { spawnSync } from "node:child_process";

export interface ImageSource {
  /** A folder with a Dockerfile. */
  readonly context: string;
  readonly tag: string;
  /** NAME=VALUE of the Dockerfile's arguments. */
  readonly args?: readonly string[];
  /** Name of the kind cluster, where docker builds. */
  readonly kind: string;
}

/**
 * Builds an image and puts it where a cluster finds it: with docker and kind, or with the command in E2E_IMAGE_BUILD, called
 * with a folder, a tag and --build-arg flags. Ends the process with the program's exit code when one fails.
 */
export function loadImage({ context, tag, args = [], kind }: ImageSource): void {
  const command = (process.env["E2E_IMAGE_BUILD"] ?? "").split(" ").filter(Boolean);
  const flags = args.flatMap((arg) => ["--build-arg", arg]);
  console.log(`image: building ${tag}`);
  if (command.length > 0) {
    run([...command, context, tag, ...flags]);
    return;
  }
  run(["docker", "build", "-t", tag, ...flags, context]);
  run(["kind", "load", "docker-image", tag, "--name", kind]);
}

function run([program = "", ...args]: readonly string[]): void {
  const { status, error } = spawnSync(program, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (error !== undefined) {
    console.error(
      `image: ${program} cannot be run (${error.message}). Install it, or name a command in E2E_IMAGE_BUILD.`,
    );
    process.exit(1);
  }
  if (status !== 0) process.exit(status ?? 1);
}
