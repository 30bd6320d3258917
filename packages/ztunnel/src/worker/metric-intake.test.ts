import { MetricRegistry } from "@hairpin/shared/telemetry";
import { describe, expect, it } from "vitest";
import { MetricIntake } from "./metric-intake.ts";

function worker(main: MetricRegistry) {
  const registry = new MetricRegistry();
  const intake = new MetricIntake(main);
  const opened = registry.counter({ name: "opened_total", help: "Opened." }).handle({});
  const open = registry.gauge({ name: "open", help: "Open.", labels: ["reporter"] }).handle({ reporter: "source" });
  return { opened, open, intake, report: () => intake.add(structuredClone(registry.takeChanges())) };
}

async function values(main: MetricRegistry): Promise<string[]> {
  const { body } = await main.expose();
  return body.split("\n").filter((line) => line.startsWith("open"));
}

describe("MetricIntake", () => {
  it("sums workers; what one counted stays when it is gone, what it had open goes", async () => {
    const main = new MetricRegistry();
    const [one, two] = [worker(main), worker(main)];
    for (const { opened, open } of [one, two]) {
      opened.add(3);
      open.add(3);
    }
    one.report();
    two.report();
    one.open.add(-1);
    one.report();
    expect(await values(main)).toEqual(["opened_total 6", 'open{reporter="source"} 5']);
    one.intake.end();
    one.intake.end();
    expect(await values(main)).toEqual(["opened_total 6", 'open{reporter="source"} 3']);
  });

  it("counts what is read after the end, and takes nothing of it for open", async () => {
    const main = new MetricRegistry();
    const { opened, open, intake, report } = worker(main);
    opened.add(1);
    report();
    intake.end();
    opened.add(1);
    open.add(1);
    report();
    expect(await values(main)).toEqual(["opened_total 2", 'open{reporter="source"} 0']);
  });
});
