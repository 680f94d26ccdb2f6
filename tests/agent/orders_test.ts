/** Does what an operator ordered hold as long as it should, and no longer? */
import { assertEquals, assertThrows } from "../assert.ts";
import { NO_ORDERS, Orders, type OrdersKeeper, type OrdersState, parseOrders } from "../../agent/orders.ts";

function keeper(orders?: OrdersState): OrdersKeeper & { kept: OrdersState[] } {
  const kept: OrdersState[] = [];
  return {
    orders,
    kept,
    keepOrders: (state) => void kept.push(state),
    stamp: () => `day ${kept.length + 1}`,
  };
}

Deno.test("a job is paused until it is resumed, and cancelled for good", () => {
  const orders = new Orders();
  assertEquals([orders.order("map", "resume"), orders.of("map")], [true, undefined]);
  assertEquals([orders.order("map", "pause"), orders.of("map")?.bar], [true, "paused"]);
  assertEquals([orders.order("map", "resume"), orders.of("map")], [true, undefined]);
  assertEquals([orders.order("map", "cancel"), orders.of("map")?.bar], [true, "cancelled"]);
  assertEquals([orders.order("map", "resume"), orders.of("map")?.bar], [false, "cancelled"]);
  assertEquals([orders.order("map", "pause"), orders.of("map")?.bar], [false, "cancelled"]);
  assertEquals(orders.of("survey"), undefined);
});

Deno.test("each order is kept with its day, and one that changes nothing leaves that day", () => {
  const keeps = keeper();
  const orders = new Orders(keeps);
  orders.order("map", "pause");
  orders.order("map", "pause");
  orders.forceSafeMode(true);
  orders.forceSafeMode(true);
  orders.order("map", "cancel");
  orders.forceSafeMode(false);
  assertEquals(
    keeps.kept.map(({ jobs, safeModeSince }) => [...jobs.map(({ since }) => since), safeModeSince]),
    [
      ["day 1", null],
      ["day 1", null],
      ["day 1", "day 3"],
      ["day 4", "day 3"],
      ["day 4", null],
    ],
  );
});

Deno.test("what was kept holds in the next run, and goes through JSON as it is", () => {
  const before = new Orders(keeper());
  before.order("map", "pause");
  before.order("gone", "cancel");
  before.forceSafeMode(true);
  before.orderPolicy({ name: "energy", options: { reserve: 0.2 }, instead: "the mission's" });
  const state = parseOrders(JSON.parse(JSON.stringify(before.state())));
  const next = new Orders(keeper(state));
  assertEquals([next.of("map")?.bar, next.of("gone")?.bar, next.safeModeForced], [
    "paused",
    "cancelled",
    true,
  ]);
  assertEquals(next.state(), before.state());
  assertEquals(next.policy, {
    name: "energy",
    options: { reserve: 0.2 },
    since: "day 4",
    instead: "the mission's",
  });
  assertEquals(parseOrders(NO_ORDERS), NO_ORDERS);
  const wrong = [undefined, [], { jobs: [] }, { jobs: 1, safeModeSince: null }, {
    jobs: [],
    safeModeSince: 1,
  }, {
    jobs: [{ job: "map", bar: "stopped", since: "" }],
    safeModeSince: null,
  }];
  for (
    const policy of [1, {}, { ...next.policy, options: { reserve: "0.2" } }, { ...next.policy, since: null }]
  ) {
    wrong.push({ ...NO_ORDERS, policy } as never);
  }
  for (const value of wrong) assertThrows(() => parseOrders(value), TypeError);
});

Deno.test("a policy is kept until it is ended, and orders of a version that knew none are read", () => {
  const keeps = keeper();
  const orders = new Orders(keeps);
  orders.endPolicy();
  assertEquals(keeps.kept.length, 0);
  orders.orderPolicy({ name: "energy", options: {}, instead: "" });
  orders.endPolicy();
  assertEquals(keeps.kept.map(({ policy }) => policy?.name), ["energy", undefined]);
  assertEquals(parseOrders({ jobs: [], safeModeSince: null }), NO_ORDERS);
});
