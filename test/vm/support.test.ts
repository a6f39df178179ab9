/** What is said of helpers is so. */
import { BPF_FUNC, type HelperName } from "../../src/uapi/index.ts";
import { worldHelpers } from "../../src/testing/world/helpers.ts";
import { HELPERS_BY_ID } from "../../src/vm/helpers/index.ts";
import { type HelperSupport, helperSupport } from "../../src/vm/index.ts";
import { assert, suite } from "../harness.ts";

const test = suite("vm helper support");
const NAMES = (Object.keys(BPF_FUNC) as HelperName[]).filter((name) => BPF_FUNC[name] > 0);

test("every helper is exact, the world's, recorded, or needs a mock", () => {
  const counts: Record<HelperSupport, number> = { exact: 0, world: 0, recorded: 0, "mock-needed": 0 };
  const ofSimulations = Object.keys(
    worldHelpers(() => {
      throw new Error("not called");
    }),
  );
  for (const name of NAMES) {
    const support = helperSupport(name);
    counts[support]++;
    const modelled = HELPERS_BY_ID[BPF_FUNC[name]] !== undefined;
    const simulated = ofSimulations.includes(name);
    assert.is(modelled || simulated, support !== "mock-needed", `${name} is said to be ${support}`);
    if (!modelled && simulated) assert.is(support, "world", `${name} is answered by simulations only`);
  }
  assert.is(NAMES.length, 211);
  assert.equal(counts, { exact: 87, world: 64, recorded: 30, "mock-needed": 30 });
});
