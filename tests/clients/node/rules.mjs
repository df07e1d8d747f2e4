// Evaluates account rulesets with a public rule engine, json-rules-engine, written as a program of its user would.
//
// Usage: node rules.mjs <cases.json>
//
// The file holds a list of cases, each {"rules": [{"id", "points", "condition"}], "accounts": [{field: value}]}: rules in Harpoon's JSON form, texts in
// lower case, dates as days since 1970, and for `within_days` a fact `<field>_days_since`. A fact `known` lists the fields of which something is
// known. Prints, for each case, for each account, the rules whose event fired, with their points.

import { readFileSync } from "node:fs";
import { Engine } from "json-rules-engine";

const [, , file] = process.argv;
const cases = JSON.parse(readFileSync(file, "utf8"));

const negated = { neq: "eq", not_in: "in", not_contains: "contains" };
const numeric = { gt: "greaterThan", gte: "greaterThanInclusive", lt: "lessThan", lte: "lessThanInclusive" };

// What is compared is a list when the account has one; the engine asks of texts and lists by operators of different names.
function test({ field, op, value }, kinds) {
  const is = (operator, value) => ({ fact: field, operator, value });
  const ofList = kinds[field] === "list";
  if (op in negated) {
    // Of what is not known nothing can be told, not even that it is something else.
    return { all: [is("present", true), { not: test({ field, op: negated[op], value }, kinds) }] };
  }
  if (op in numeric) return is(numeric[op], value);
  switch (op) {
    case "eq":
      return is(ofList ? "contains" : "equal", value);
    case "in":
      return ofList ? { any: value.map((one) => is("contains", one)) } : is("in", value);
    case "between":
      return { all: [is("greaterThanInclusive", value[0]), is("lessThanInclusive", value[1])] };
    case "contains":
      return is(ofList ? "contains" : "holds", value);
    case "starts_with":
      return is(ofList ? "someFact:beginsWith" : "beginsWith", value);
    case "within_days":
      return { all: ["greaterThanInclusive", "lessThanInclusive"].map((operator, n) => ({ fact: `${field}_days_since`, operator, value: [0, value][n] })) };
    case "exists":
      return { fact: "known", operator: "contains", value: field };
    case "not_exists":
      return { fact: "known", operator: "doesNotContain", value: field };
    default:
      throw new Error(`no operator ${op}`);
  }
}

function condition(written, kinds) {
  for (const group of ["all", "any"]) {
    if (group in written) return { [group]: written[group].map((member) => condition(member, kinds)) };
  }
  return test(written, kinds);
}

const answers = [];
for (const { rules, kinds, accounts } of cases) {
  const engine = new Engine([], { allowUndefinedFacts: true });
  engine.addOperator("present", (fact, wanted) => (fact !== undefined) === wanted);
  engine.addOperator("holds", (text, part) => typeof text === "string" && text.includes(part));
  engine.addOperator("beginsWith", (text, start) => typeof text === "string" && text.startsWith(start));
  for (const { id, points, condition: written } of rules) {
    engine.addRule({ conditions: { all: [condition(written, kinds)] }, event: { type: id, params: { points } } });
  }
  const fired = [];
  for (const account of accounts) {
    const { events } = await engine.run(account);
    fired.push(Object.fromEntries(events.map(({ type, params }) => [type, params.points])));
  }
  answers.push(fired);
}
process.stdout.write(JSON.stringify(answers));
