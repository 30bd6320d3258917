import { closeSync, fstatSync } from "node:fs";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { connectSeqpacket, type SeqpacketConnection } from "@hairpin/native";
import { istioZds } from "@hairpin/shared/api";

/** ztunnel's end: says hello and answers every request, with an error when told so. */
export class FakeZtunnel {
  readonly heard: string[] = [];
  readonly inodes: number[] = [];
  refuse = "";
  /** Answers wait for it. */
  gate: Promise<void> = Promise.resolve();
  /** Resolves when the connection has ended. */
  readonly ended: Promise<void>;
  readonly #connection: SeqpacketConnection;

  constructor(path: string, version: istioZds.Version = istioZds.Version.V1) {
    this.#connection = connectSeqpacket(path);
    const hello = create(istioZds.ZdsHelloSchema, { version });
    if (version !== istioZds.Version.NOT_USED) this.#connection.send(toBinary(istioZds.ZdsHelloSchema, hello));
    this.ended = this.#run();
  }

  say(bytes: Uint8Array, fds: readonly number[] = []): void {
    this.#connection.send(bytes, fds);
  }

  close(): void {
    this.#connection.close();
  }

  async #run(): Promise<void> {
    for (;;) {
      const message = await this.#connection.receive();
      if (message === undefined) return;
      const { payload } = fromBinary(istioZds.WorkloadRequestSchema, message.bytes);
      const uid = payload.case === "add" || payload.case === "del" ? payload.value.uid : "";
      this.heard.push(`${payload.case} ${uid}`.trim());
      for (const fd of message.fds) {
        this.inodes.push(fstatSync(fd).ino);
        closeSync(fd);
      }
      await this.gate;
      if (this.#connection.closed) return;
      const error = payload.case === "add" ? this.refuse : "";
      const answer = create(istioZds.WorkloadResponseSchema, { payload: { case: "ack", value: { error } } });
      this.#connection.send(toBinary(istioZds.WorkloadResponseSchema, answer));
    }
  }
}
