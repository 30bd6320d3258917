import type { Certificate } from "@hairpin/shared/identity";
import { formatSpiffeId, type Identity } from "@hairpin/shared/model";
import { ManualClock, TestAuthority } from "@hairpin/testkit";
import { describe, expect, it } from "vitest";
import { RemoteCertificates } from "./remote-certificates.ts";

const authority = new TestAuthority();
const web = authority.identity("ns/web");

function harness() {
  const asked: string[] = [];
  const clock = new ManualClock();
  const answers: PromiseWithResolvers<Certificate>[] = [];
  const certificates = new RemoteCertificates((identity: Identity) => {
    asked.push(formatSpiffeId(identity));
    const answer = Promise.withResolvers<Certificate>();
    answers.push(answer);
    return answer.promise;
  }, clock);
  return { certificates, asked, answers, clock };
}

/** Valid around the clock's date. */
function issue(clock: ManualClock, minutes = 60): Certificate {
  const now = clock.wallTime().getTime();
  const certificate = authority.issue(web);
  return { ...certificate, notBefore: new Date(now - 60_000), notAfter: new Date(now + minutes * 60_000) };
}

describe("RemoteCertificates", () => {
  it("asks main once for an identity, and answers from its copy then", async () => {
    const { certificates, asked, answers, clock } = harness();
    const waiting = [certificates.fetch(web), certificates.fetch(web)];
    const certificate = issue(clock);
    answers[0]?.resolve(certificate);
    expect(await Promise.all(waiting)).toEqual([certificate, certificate]);
    expect(await certificates.fetch(web)).toBe(certificate);
    expect(asked).toEqual(["spiffe://cluster.local/ns/ns/sa/web"]);
  });

  it("rejects as main does, and asks again the next time", async () => {
    const { certificates, asked, answers } = harness();
    const waiting = certificates.fetch(web);
    answers[0]?.reject(new Error("the CA is away"));
    await expect(waiting).rejects.toThrow("the CA is away");
    void certificates.fetch(web).catch(() => {});
    expect(asked).toHaveLength(2);
  });

  it("takes renewals of what it holds, and of nothing else", async () => {
    const { certificates, asked, answers, clock } = harness();
    certificates.renewed(issue(clock));
    const waiting = certificates.fetch(web);
    expect(asked).toHaveLength(1);
    answers[0]?.resolve(issue(clock));
    await waiting;
    const renewed = issue(clock, 120);
    certificates.renewed(renewed);
    expect(await certificates.fetch(web)).toBe(renewed);
  });

  it("asks again for one that has expired", async () => {
    const { certificates, asked, answers, clock } = harness();
    const waiting = certificates.fetch(web);
    answers[0]?.resolve(issue(clock, 1));
    await waiting;
    await clock.advance(61_000);
    void certificates.fetch(web);
    expect(asked).toHaveLength(2);
  });

  it("keeps nothing of what was forgotten, not even what is under way", async () => {
    const { certificates, asked, answers, clock } = harness();
    const waiting = certificates.fetch(web);
    certificates.forget(web);
    answers[0]?.resolve(issue(clock));
    await waiting;
    void certificates.fetch(web);
    expect(asked).toHaveLength(2);
  });
});
