// Sends COUNT calls over one connection and prints how many each pod answered: `node grpc-call.ts HOST:PORT [COUNT]`.
import { Client, credentials } from "@grpc/grpc-js";
import { greeter, noMetadata } from "./greeter.ts";

const [address = "localhost:9090", count = "30"] = process.argv.slice(2);
const client = new Client(address, credentials.createInsecure());
const answers = new Map<string, number>();

function hello(): Promise<string> {
  const { path, requestSerialize, responseDeserialize } = greeter.hello;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      "who answers?",
      noMetadata,
      { deadline: Date.now() + 5000 },
      (error, text) => {
        if (error) reject(error);
        else resolve(text ?? "");
      },
    );
  });
}

for (let i = 0; i < Number(count); i++) {
  const pod = await hello();
  answers.set(pod, (answers.get(pod) ?? 0) + 1);
}
console.log(JSON.stringify(Object.fromEntries([...answers].toSorted(([a], [b]) => (a < b ? -1 : 1)))));
client.close();
