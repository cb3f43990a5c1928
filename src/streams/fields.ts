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
  Matches,
  Max,
  MaxLength,
  Min,
} from "class-validator";
import { memberName } from "../identity/names.js";

export const formatVersion = 1;
/** Most parties of a key, and most inputs of a request. */
export const maxParties = 32;
export const maxInputs = 64;
/** 4096 bits in base64url. */
const maxNumberLength = 683;

type Decorator = PropertyDecorator;

function all(...decorators: readonly Decorator[]): Decorator {
  return (target, key) => {
    for (const decorate of decorators) decorate(target, key);
  };
}

export const IsVersion = (): Decorator => Equals(formatVersion);
export const IsName = (): Decorator => Matches(memberName);
/** 128 random bits, base64url: sessions and requests. */
export const IsRandomId = (): Decorator => Matches(/^[A-Za-z0-9_-]{22}$/);
/** 16 bytes of lower-case hex. */
export const IsKeyId = (): Decorator => Matches(/^[0-9a-f]{32}$/);
/** SHA-256, lower-case hex: of a whole signed message. */
export const IsMessageHash = (): Decorator => Matches(/^[0-9a-f]{64}$/);
/** RFC 3339, UTC, milliseconds: what `Date.toISOString` writes. */
export const IsTime = (): Decorator => Matches(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/);
export const IsParty = (): Decorator => all(IsInt(), Min(1), Max(maxParties));
export const IsCount = (): Decorator => all(IsInt(), Min(0), Max(Number.MAX_SAFE_INTEGER));
/** A big-endian number of at most 4096 bits, base64url. */
export const IsNumber = (): Decorator =>
  all(Matches(/^[A-Za-z0-9_-]+$/), MaxLength(maxNumberLength));
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
export const IsNumberList = (): Decorator =>
  IsList(/^[A-Za-z0-9_-]+$/, 1, maxInputs, maxNumberLength);
export const IsNameList = (): Decorator =>
  all(IsList(memberName, 1, maxParties, 64), ArrayUnique());
