#!/usr/bin/env python3
"""Writes the vectors in this folder, by a second implementation that shares no code with src/.

Follows Shoup 2000, section 3 and RFC 8017, section 9 to the letter (full Delta, d known), with
Python's integers and hashlib. Usage: python3 test/vectors/generate.py, from the repository's root.
"""
import hashlib
import json
import math
import pathlib
import re

HERE = pathlib.Path(__file__).parent
E = 65537
DIGEST_OIDS = {
    "sha1": "06052b0e03021a",
    "sha224": "0609608648016503040204",
    "sha256": "0609608648016503040201",
    "sha384": "0609608648016503040202",
    "sha512": "0609608648016503040203",
}


def fixed(name, length):
    """Reproducible bytes, so that the vectors can be written again."""
    return hashlib.shake_256(name.encode()).digest(length)


def fixed_below(name, limit):
    return int.from_bytes(fixed(name, limit.bit_length() // 8 + 16), "big") % limit


def primes(bits):
    """The safe primes of test/support/keys.ts."""
    text = (HERE.parent / "support" / "keys.ts").read_text()
    body = re.search(r"\b%d: \[(.*?)\],\n" % bits, text, re.S).group(1)
    words = re.sub(r'"\s*\+\s*"', "", body)
    return [int(word, 16) for word in re.findall(r'"([0-9a-f]+)"', words)]


def tlv(tag, body):
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    return bytes([tag, 0x81, len(body)]) + body


def digest_info(name, digest, parameters=b"\x05\x00"):
    return tlv(0x30, tlv(0x30, bytes.fromhex(DIGEST_OIDS[name]) + parameters) + tlv(4, digest))


def type1(payload, length):
    return b"\x00\x01" + b"\xff" * (length - len(payload) - 3) + b"\x00" + payload


def pss(name, digest, salt, length):
    def mgf1(seed, size):
        out, counter = b"", 0
        while len(out) < size:
            out += hashlib.new(name, seed + counter.to_bytes(4, "big")).digest()
            counter += 1
        return out[:size]

    h = hashlib.new(name, bytes(8) + digest + salt).digest()
    db = bytes(length - len(salt) - len(h) - 2) + b"\x01" + salt
    masked = bytearray(a ^ b for a, b in zip(db, mgf1(h, len(db))))
    masked[0] &= 0x7F
    return bytes(masked) + h + b"\xbc"


def framed_hash(parts):
    return hashlib.sha256(b"".join(len(p).to_bytes(4, "big") + p for p in parts)).digest()


def shoup(bits, n, k):
    name = f"{bits}/{n}/{k}"
    p, q = primes(bits)
    N, m, L = p * q, (p - 1) // 2 * ((q - 1) // 2), bits // 8
    element = lambda value: value.to_bytes(L, "big")
    delta = math.factorial(n)
    d = pow(E, -1, m)
    coefficients = [fixed_below(f"{name}/a{j}", m) for j in range(1, k)]
    f = lambda x: (d + sum(a * x ** (j + 1) for j, a in enumerate(coefficients))) % m
    root = fixed_below(f"{name}/v", N)
    v = root * root % N
    secrets = {i: f(i) for i in range(1, n + 1)}
    digest = hashlib.sha256(name.encode()).digest()
    message = type1(digest_info("sha256", digest), L)
    x = int.from_bytes(message, "big")
    values = {i: pow(x, 2 * delta * s, N) for i, s in secrets.items()}
    shares = {i: min(value, N - value) for i, value in values.items()}

    # Combined as in the paper, and compared with the undivided key.
    quorum = list(range(n - k + 1, n + 1))
    lam = {}
    for i in quorum:
        num = math.prod(j for j in quorum if j != i)
        den = math.prod(j - i for j in quorum if j != i)
        assert delta * num % den == 0
        lam[i] = delta * num // den
    w = math.prod(pow(shares[i], 2 * lam[i], N) for i in quorum) % N
    a = pow(4 * delta**2, -1, E)
    b = (1 - a * 4 * delta**2) // E
    y = pow(w, a, N) * pow(x, b, N) % N
    assert y == pow(x, pow(E, -1, (p - 1) * (q - 1)), N)

    index, key_id, epoch = n, "00112233445566778899aabbccddeeff", 7
    r = int.from_bytes(fixed(f"{name}/r", L + 64), "big")
    base = pow(x, 4 * delta, N)
    vi = pow(v, secrets[index], N)
    squared = shares[index] ** 2 % N
    v_prime, x_prime = pow(v, r, N), pow(base, r, N)
    c = int.from_bytes(
        framed_hash(
            [b"thsm/v1/shoup-share-proof", key_id.encode(), epoch.to_bytes(4, "big"),
             index.to_bytes(4, "big")]
            + [element(g) for g in (N, v, base, vi, squared, v_prime, x_prime)]
        ),
        "big",
    )
    z = secrets[index] * c + r
    assert pow(v, z, N) == v_prime * pow(vi, c, N) % N
    assert pow(base, z, N) == x_prime * pow(squared, c, N) % N

    return {
        "name": f"{k} of {n}, {bits} bits",
        "modulusBits": bits,
        "parties": n,
        "threshold": k,
        "coefficients": [f"{a:x}" for a in coefficients],
        "verificationRoot": f"{root:x}",
        "verificationBase": element(v).hex(),
        "verificationKeys": [element(pow(v, s, N)).hex() for s in secrets.values()],
        "keyShares": [
            (b"THKS" + bytes([1, i]) + L.to_bytes(2, "big") + element(s)).hex()
            for i, s in secrets.items()
        ],
        "digest": digest.hex(),
        "encodedMessage": message.hex(),
        "signatureShares": [element(s).hex() for s in shares.values()],
        "proof": {
            "index": index,
            "keyId": key_id,
            "epoch": epoch,
            "nonce": fixed(f"{name}/r", L + 64).hex(),
            "bytes": (
                b"\x01" + element(v_prime) + element(x_prime) + z.to_bytes(L + 65, "big")
            ).hex(),
        },
        "signature": element(y).hex(),
    }


def emsa():
    cases = []
    for bits in (1024, 2048, 3072, 4096):
        for name in DIGEST_OIDS:
            digest = hashlib.new(name, b"threshold").digest()
            cases.append({"encoding": "pkcs1v15", "modulusBits": bits, "hash": name,
                          "data": digest.hex(),
                          "encodedMessage": type1(digest_info(name, digest), bits // 8).hex()})
            for salt_length in {0, min(len(digest), bits // 8 - len(digest) - 2)}:
                salt = fixed(f"salt/{name}", salt_length)
                cases.append({"encoding": "pss", "modulusBits": bits, "hash": name,
                              "data": digest.hex(), "salt": salt.hex(),
                              "encodedMessage": pss(name, digest, salt, bits // 8).hex()})
        for size in (0, 1, 36, bits // 8 - 11):
            data = fixed(f"opaque/{bits}", size)
            cases.append({"encoding": "pkcs1v15-opaque", "modulusBits": bits, "data": data.hex(),
                          "encodedMessage": type1(data, bits // 8).hex()})
    return sorted(cases, key=lambda case: (case["modulusBits"], case["encoding"], len(case["data"])))


def digest_infos():
    good, bad = [], []
    for name in DIGEST_OIDS:
        digest = hashlib.new(name, b"threshold").digest()
        for title, parameters in (("NULL", b"\x05\x00"), ("absent", b"")):
            good.append({"name": f"{name}, {title} parameters", "hash": name,
                         "digest": digest.hex(),
                         "bytes": digest_info(name, digest, parameters).hex()})
        ok = digest_info(name, digest)
        oid = bytes.fromhex(DIGEST_OIDS[name])
        algorithm = oid + b"\x05\x00"
        octets = tlv(4, digest)
        long = lambda tag, body: bytes([tag, 0x81, len(body)]) + body
        longer = lambda tag, body: bytes([tag, 0x82, 0, len(body)]) + body
        indefinite = lambda tag, body: bytes([tag, 0x80]) + body + b"\x00\x00"
        for title, value in {
            "empty": b"",
            "one byte": b"\x30",
            "the digest alone": digest,
            "trailing byte": ok + b"\x00",
            "trailing NULL in the sequence": tlv(0x30, tlv(0x30, algorithm) + octets + b"\x05\x00"),
            "last byte missing": ok[:-1],
            "leading zero": b"\x00" + ok,
            "long form length of the sequence": long(0x30, ok[2:]),
            "long form length with leading zero": longer(0x30, ok[2:]),
            "indefinite length of the sequence": indefinite(0x30, ok[2:]),
            "long form length of the algorithm": tlv(0x30, long(0x30, algorithm) + octets),
            "indefinite length of the algorithm": tlv(0x30, indefinite(0x30, algorithm) + octets),
            "long form length of the octets": tlv(0x30, tlv(0x30, algorithm) + long(4, digest)),
            "constructed octets": tlv(0x30, tlv(0x30, algorithm) + tlv(0x24, octets)),
            "long form length of NULL": tlv(0x30, tlv(0x30, oid + b"\x05\x81\x00") + octets),
            "NULL with content": tlv(0x30, tlv(0x30, oid + b"\x05\x01\x00") + octets),
            "parameters are an empty sequence": tlv(0x30, tlv(0x30, oid + b"\x30\x00") + octets),
            "parameters are an integer": tlv(0x30, tlv(0x30, oid + b"\x02\x01\x00") + octets),
            "NULL twice": tlv(0x30, tlv(0x30, algorithm + b"\x05\x00") + octets),
            "garbage after NULL": tlv(0x30, tlv(0x30, algorithm + b"\xde\xad\xbe\xef") + octets),
            "NULL outside of the algorithm": tlv(0x30, tlv(0x30, oid) + b"\x05\x00" + octets),
            "set instead of sequence": tlv(0x31, ok[2:]),
            "bit string instead of octets": tlv(0x30, tlv(0x30, algorithm) + tlv(3, digest)),
            "digest too short": tlv(0x30, tlv(0x30, algorithm) + tlv(4, digest[:-1])),
            "digest too long": tlv(0x30, tlv(0x30, algorithm) + tlv(4, digest + b"\x00")),
            "empty digest": tlv(0x30, tlv(0x30, algorithm) + tlv(4, b"")),
            "no digest": tlv(0x30, tlv(0x30, algorithm)),
            "no OID": tlv(0x30, tlv(0x30, b"\x05\x00") + octets),
            "OID with another last arc": tlv(
                0x30, tlv(0x30, oid[:-1] + bytes([oid[-1] ^ 0x40]) + b"\x05\x00") + octets),
            "OID one byte short": tlv(0x30, tlv(0x30, tlv(6, oid[2:-1]) + b"\x05\x00") + octets),
            "OID with a padded arc": tlv(
                0x30, tlv(0x30, tlv(6, oid[2:-1] + b"\x80" + oid[-1:]) + b"\x05\x00") + octets),
            "length of the sequence too small": bytes([0x30, ok[1] - 1]) + ok[2:],
            "length of the sequence too large": bytes([0x30, ok[1] + 1]) + ok[2:],
            "length overflow": bytes([0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]) + ok[2:],
        }.items():
            bad.append({"name": f"{name}: {title}", "bytes": value.hex()})
    md5 = tlv(0x30, tlv(0x30, bytes.fromhex("06082a864886f70d02050500")) + tlv(4, bytes(16)))
    bad.append({"name": "md5", "bytes": md5.hex()})
    sha3 = tlv(0x30, tlv(0x30, bytes.fromhex("06096086480165030402080500")) + tlv(4, bytes(32)))
    bad.append({"name": "sha3-256", "bytes": sha3.hex()})
    sha1_as_256 = tlv(0x30, tlv(0x30, bytes.fromhex(DIGEST_OIDS["sha1"] + "0500")) + tlv(4, bytes(32)))
    bad.append({"name": "sha1 with a digest of 32 bytes", "bytes": sha1_as_256.hex()})
    return {"valid": good, "invalid": bad}


def write(name, data):
    (HERE / name).write_text(json.dumps(data, indent=2) + "\n")


write("shoup.json", [shoup(1024, 3, 2), shoup(1024, 5, 3), shoup(1024, 9, 6), shoup(1024, 32, 17),
                     shoup(2048, 3, 2), shoup(4096, 3, 2)])
write("emsa.json", emsa())
write("digest-info.json", digest_infos())
