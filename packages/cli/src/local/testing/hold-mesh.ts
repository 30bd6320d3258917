// A program for tests: starts a mesh without its parts, prints what `LocalMesh` knows of it and waits to be killed.
// Arguments: name of the mesh, file of manifests, `detach` or nothing.

import { startLocalMesh } from "../local-mesh.ts";

const [name = "", manifests = "", mode] = process.argv.slice(2);
const mesh = await startLocalMesh({ name, manifests: [manifests], meshParts: false, readyTimeoutMs: 60_000 });
const call = await mesh.exec("client", ["curl", "-sS", "-m5", "http://echo/"], { namespace: "demo" });
const user = await mesh.exec("client", ["sh", "-c", "grep CapBnd /proc/self/status; touch /x 2>&1"], {
  namespace: "demo",
});
console.log(JSON.stringify({ record: mesh.record, stateDirectory: mesh.stateDirectory, call, user }));
if (mode === "detach") {
  await mesh.detach();
  process.exit(0);
}
setInterval(() => {}, 1_000_000);
