/**
 * @module The fields that messages share: their shape as decorators. DTO = shape; the meaning of
 * numbers is checked where they are used, in scheme/.
 */
import {
  ArrayMaxSize,
  ArrayMinSize,
  ArrayUnique,
  Equals,
  IsArray,
  IsInt,
  IsString,
  Length,
  Matches,
  Max,
  MaxLength,
  Min,
  ValidateBy,
  ValidateIf,
} from "class-validator";
import { memberName } from "../identity/names.js";

export const formatVersion = 1;
/** Most parties of a key, and most inputs of a request. */
export const maxParties = 32;
export const maxInputs = 64;
/** 4096 bits in base64url. */
const maxNumberLength = 683;

/**
 * One or more bytes in base64url, with no bit set that decodes to nothing: a text that passes can be
 * decoded without a failure, long after it was received.
 */
export const canonical: RegExp =
  /^(?=.)(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?$/;

type Decorator = PropertyDecorator;

function all(...decorators: readonly Decorator[]): Decorator {
  return (target, key) => {
    for (const decorate of decorators) decorate(target, key);
  };
}

export const IsVersion = (version: number = formatVersion): Decorator => Equals(version);
export const IsName = (): Decorator => Matches(memberName);
/** 128 random bits, base64url: sessions and requests. */
export const IsRandomId = (): Decorator => Matches(/^[A-Za-z0-9_-]{22}$/);
/** 16 bytes of lower-case hex. */
export const IsKeyId = (): Decorator => Matches(/^[0-9a-f]{32}$/);
/** SHA-256, lower-case hex: of a whole signed message. */
export const IsMessageHash = (): Decorator => Matches(/^[0-9a-f]{64}$/);
/** RFC 3339, UTC, milliseconds: exactly what `Date.toISOString` writes, and a day that exists. */
export const IsTime = (): Decorator =>
  ValidateBy({
    name: "isTime",
    validator: {
      validate: isTime,
      defaultMessage: () => "$property must be a time like 2000-12-31T23:59:59.999Z",
    },
  });
/** May be absent. Unlike class-validator's own IsOptional it does not let null through. */
export const MayBeAbsent = (): Decorator => ValidateIf((_, value) => value !== undefined);
/** Absent exactly when the other field is. */
export const IsAbsentUnless = (other: string): Decorator =>
  ValidateIf((body: object, value) => (value ?? Reflect.get(body, other)) !== undefined);
export const IsParty = (): Decorator => all(IsInt(), Min(1), Max(maxParties));
export const IsCount = (): Decorator => all(IsInt(), Min(0), Max(Number.MAX_SAFE_INTEGER));
/** A big-endian number of at most 4096 bits, base64url. */
export const IsNumber = (): Decorator => all(Matches(canonical), MaxLength(maxNumberLength));
/** An X25519 public key: 32 bytes, base64url. */
export const IsX25519Key = (): Decorator => all(Matches(canonical), Length(43, 43));
export const IsText = (longest: number): Decorator => all(IsString(), MaxLength(longest));

export const IsPartyList = (): Decorator =>
  all(
    IsArray(),
    ArrayMinSize(1),
    ArrayMaxSize(maxParties),
    ArrayUnique(),
    IsInt({ each: true }),
    Min(1, { each: true }),
    Max(maxParties, { each: true }),
  );

/** An array of `least`…`most` strings that match `pattern`, each at most `longest` characters. */
export const IsList = (pattern: RegExp, least: number, most: number, longest: number): Decorator =>
  all(
    IsArray(),
    ArrayMinSize(least),
    ArrayMaxSize(most),
    Matches(pattern, { each: true }),
    MaxLength(longest, { each: true }),
  );

/** As many base64url numbers as there are inputs. */
export const IsNumberList = (): Decorator => IsList(canonical, 1, maxInputs, maxNumberLength);
export const IsNameList = (): Decorator =>
  all(IsList(memberName, 1, maxParties, 64), ArrayUnique());

function isTime(value: unknown): boolean {
  if (typeof value !== "string" || value.length !== 24) return false;
  const date = new Date(value);
  return !Number.isNaN(date.getTime()) && date.toISOString() === value;
}
