/**
 * @module class-validator's decorators, run without its interpreter, which costs more than an Ed25519
 * verification for a message of twenty fields. Says only "certainly valid": for anything else, also for kinds
 * of decorators that are not known here, class-validator itself decides and words the errors.
 */
import { getMetadataStorage } from "class-validator";

type Check = (object: object) => boolean;

interface Compiled {
  readonly properties: ReadonlySet<string>;
  readonly checks: readonly Check[];
}

const compiled = new WeakMap<object, Compiled | "unknown">();

/** Whether `value`, an instance of `type`, passes every decorator and has no property without one. */
export function isCertainlyValid<T extends object>(type: new () => T, value: T): boolean {
  let of = compiled.get(type);
  if (of === undefined) compiled.set(type, (of = compile(type)));
  if (of === "unknown") return false;
  for (const key of Object.keys(value)) if (!of.properties.has(key)) return false;
  for (const check of of.checks) if (!check(value)) return false;
  return true;
}

function compile(type: new () => object): Compiled | "unknown" {
  const storage = getMetadataStorage();
  const byProperty = storage.groupByPropertyName(
    storage.getTargetValidationMetadatas(type, "", false, false),
  );
  const checks: Check[] = [];
  for (const [property, list] of Object.entries(byProperty)) {
    const conditions: ((object: object, value: unknown) => unknown)[] = [];
    const own: Check[] = [];
    for (const { type: kind, constraints = [], constraintCls, each, ...rest } of list) {
      if (rest.validateIf !== undefined) return "unknown";
      if (kind === "conditionalValidation") {
        conditions.push(constraints[0]);
        continue;
      }
      if (kind !== "customValidation") return "unknown";
      for (const { instance, async } of storage.getTargetValidatorConstraints(constraintCls)) {
        if (async) return "unknown";
        own.push((object) => {
          const value: unknown = Reflect.get(object, property);
          const args = { value, object, property, constraints, targetName: type.name };
          const passes = (one: unknown): boolean => instance.validate(one, args) === true;
          return each ? Array.isArray(value) && value.every(passes) : passes(value);
        });
      }
    }
    checks.push((object) => {
      const value: unknown = Reflect.get(object, property);
      if (!conditions.every((condition) => Boolean(condition(object, value)))) return true;
      return own.every((check) => check(object));
    });
  }
  return checks.length === 0 ? "unknown" : { properties: new Set(Object.keys(byProperty)), checks };
}
