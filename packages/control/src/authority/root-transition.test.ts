import {
  createCsr,
  createKeyPair,
  formatPrivateKey,
  checkIssuedChain,
  splitCertificates,
} from "@hairpin/shared/identity";
import { parseSpiffeId } from "@hairpin/shared/model";
import { ManualClock, TestAuthority } from "@hairpin/testkit";
import { beforeEach, describe, expect, test } from "vitest";
import { bundleOf, planTransition, type Transition, type TransitionState } from "./root-transition.ts";
import { createSigningAuthority, type CaMaterial } from "./signing-authority.ts";

const hour = 3_600_000;
const options = { introductionMs: hour, retirementMs: 24 * hour };
const web = parseSpiffeId("spiffe://cluster.local/ns/shop/sa/web");

function materialOf(authority: TestAuthority, rootsPem: string = authority.rootPem): CaMaterial {
  const isRoot = authority.signing.certificatePem === authority.rootPem;
  return {
    signing: authority.signing,
    intermediatesPem: isRoot ? "" : authority.signing.certificatePem,
    rootsPem,
  };
}

describe("planTransition", () => {
  let clock: ManualClock;
  let oldCa: TestAuthority;
  let newCa: TestAuthority;
  beforeEach(() => {
    clock = new ManualClock(new Date());
    oldCa = new TestAuthority({ now: clock.wallTime() });
    newCa = new TestAuthority({ now: clock.wallTime() });
  });
  const plan = (held: TransitionState | undefined, configured: CaMaterial): Transition =>
    planTransition(held, configured, clock, options);
  const first = (): TransitionState => plan(undefined, materialOf(oldCa)).state;
  /** Who signs, and whom everybody trusts. */
  const show = ({ state }: Transition): string => {
    const name = (pem: string): string => (pem === oldCa.rootPem ? "old" : pem === newCa.rootPem ? "new" : "other");
    return `${name(state.signing.signing.certificatePem)} trusts ${state.roots.map(({ pem }) => name(pem)).join("+")}`;
  };
  const inMs = ({ nextAt }: Transition): number | undefined =>
    nextAt === undefined ? undefined : nextAt - clock.wallTime().getTime();

  test("begins with the configured CA at once, and then there is nothing to do", () => {
    const begun = plan(undefined, materialOf(oldCa));
    expect([show(begun), inMs(begun)]).toEqual(["old trusts old", undefined]);
    expect(plan(begun.state, materialOf(oldCa))).toEqual(begun);
  });

  test("introduces a new root, switches when it is known, and retires the old one when its last certificate ended", async () => {
    const introduced = plan(first(), materialOf(newCa));
    expect([show(introduced), inMs(introduced)]).toEqual(["old trusts old+new", hour]);
    await clock.advance(hour - 1);
    expect(show(plan(introduced.state, materialOf(newCa)))).toBe("old trusts old+new");
    await clock.advance(1);
    const switched = plan(introduced.state, materialOf(newCa));
    expect([show(switched), inMs(switched)]).toEqual(["new trusts old+new", 24 * hour]);
    await clock.advance(24 * hour - 1);
    expect(show(plan(switched.state, materialOf(newCa)))).toBe("new trusts old+new");
    await clock.advance(1);
    const retired = plan(switched.state, materialOf(newCa));
    expect([show(retired), inMs(retired)]).toEqual(["new trusts new", undefined]);
  });

  test("a certificate of each step is accepted with the bundles of the steps before and after it", async () => {
    const steps: TransitionState[] = [first()];
    for (const wait of [0, hour, 24 * hour]) {
      await clock.advance(wait);
      steps.push(plan(steps.at(-1), materialOf(newCa)).state);
    }
    for (const [index, step] of steps.entries()) {
      const keyPair = createKeyPair();
      const { authority } = createSigningAuthority(step.signing, bundleOf(step), clock);
      const chain = authority.sign(createCsr(web, keyPair), { identity: web, ttlMs: hour }).slice(0, -1);
      for (const verifier of steps.slice(Math.max(0, index - 1), index + 2)) {
        const roots = splitCertificates(bundleOf(verifier));
        const privateKeyPem = formatPrivateKey(keyPair);
        expect(checkIssuedChain({ chain, roots, privateKeyPem }, web, clock.wallTime()).identity).toEqual(web);
      }
    }
  });

  test("takes another intermediate of a known root at once", () => {
    const root = new TestAuthority({ now: clock.wallTime() });
    const a = new TestAuthority({ intermediate: true, root: root.signing, now: clock.wallTime() });
    const b = new TestAuthority({ intermediate: true, root: root.signing, now: clock.wallTime() });
    const held = plan(undefined, materialOf(a)).state;
    const next = plan(held, materialOf(b));
    expect(next.state.signing).toEqual(materialOf(b));
    expect(next.nextAt).toBeUndefined();
  });

  test("a new root that came in a bundle with the old one is introduced as well before its issuer signs", async () => {
    const both = materialOf(newCa, oldCa.rootPem + newCa.rootPem);
    const introduced = plan(first(), both);
    expect(show(introduced)).toBe("old trusts old+new");
    await clock.advance(hour);
    const switched = plan(introduced.state, both);
    // The operator still lists the old root: it stays.
    expect([show(switched), inMs(switched)]).toEqual(["new trusts old+new", undefined]);
  });

  test("goes back at once when the old CA is configured again", async () => {
    const introduced = plan(first(), materialOf(newCa));
    const back = plan(introduced.state, materialOf(oldCa));
    expect([show(back), inMs(back)]).toEqual(["old trusts old+new", 24 * hour]);
    await clock.advance(2 * hour);
    expect(show(plan(back.state, materialOf(oldCa)))).toBe("old trusts old+new");
  });

  test("does not wait for an issuer that has ended", async () => {
    const short = new TestAuthority({ now: new Date(clock.wallTime().getTime() - 3650 * 24 * hour + hour) });
    const held = plan(undefined, materialOf(short)).state;
    await clock.advance(2 * hour);
    expect(plan(held, materialOf(newCa)).state.signing).toEqual(materialOf(newCa));
  });
});
