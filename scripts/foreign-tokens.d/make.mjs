// Tokens of npm's jose, good and bad. Usage: make.mjs FOLDER, after make.py, whose keys it uses.
import { readFileSync, writeFileSync } from "node:fs";
import { SignJWT, UnsecuredJWT, importPKCS8, importSPKI, exportJWK, generateKeyPair } from "jose";

const folder = process.argv[2];
const read = (name) => readFileSync(`${folder}/${name}`, "utf8");
const invalid = [401, '{"detail":"Given token not valid for any token type","code":"token_not_valid","messages":[{"token_class":"AccessToken","token_type":"access","message":"Token is invalid"}]}'];
const expired = [401, invalid[1].replace("Token is invalid", "Token is expired")];
const wrongType = [401, invalid[1].replace("Token is invalid", "Token has wrong type")];
const noScope = [403, '{"detail":"You do not have permission to perform this action."}'];
const cases = [];
const add = (what, token, expected) => cases.push({ what: `jose: ${what}`, token, expected });

const good = (change = {}) => {
  const claims = { sub: "ada", scope: "avatar:write", ...change };
  return new SignJWT(claims).setIssuer("https://sso.example.org").setAudience("pockitd").setIssuedAt().setExpirationTime("10m");
};

const algorithms = [
  ["RS256", "RS256"], ["RS384", "RS256"], ["RS512", "RS256"], ["PS256", "RS256"], ["PS384", "RS256"], ["PS512", "RS256"],
  ["ES256", "ES256"], ["ES384", "ES384"], ["EdDSA", "EdDSA"], ["Ed25519", "EdDSA"],
];
for (const [alg, kid] of algorithms) {
  const key = await importPKCS8(read(`${kid}.private.pem`), alg);
  const header = { alg, kid, typ: "JWT" };
  const accepted = { user_id: "sso:ada" };
  const token = await good().setProtectedHeader(header).sign(key);
  add(alg, token, accepted);
  add(`${alg}, at+jwt`, await good().setProtectedHeader({ ...header, typ: "at+jwt" }).sign(key), accepted);
  add(`${alg}, expired`, await good().setExpirationTime("-1s").setProtectedHeader(header).sign(key), expired);
  add(`${alg}, not yet`, await good().setNotBefore("10m").setProtectedHeader(header).sign(key), invalid);
  add(`${alg}, wrong audience`, await good().setAudience("x").setProtectedHeader(header).sign(key), invalid);
  add(`${alg}, wrong issuer`, await good().setIssuer("x").setProtectedHeader(header).sign(key), invalid);
  add(`${alg}, wrong type`, await good({ token_type: "refresh" }).setProtectedHeader(header).sign(key), wrongType);
  add(`${alg}, no scope`, await good({ scope: "x" }).setProtectedHeader(header).sign(key), noScope);
  add(`${alg}, unknown kid`, await good().setProtectedHeader({ ...header, kid: "x" }).sign(key), invalid);
  const [head, , signature] = token.split(".");
  const other = (await good({ sub: "eve" }).setProtectedHeader(header).sign(key)).split(".")[1];
  add(`${alg}, forged`, `${head}.${other}.${signature}`, invalid);
  // A stranger's key, brought along in the header.
  const stranger = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(stranger.publicKey);
  add(`${alg}, its own key`, await good().setProtectedHeader({ ...header, jwk }).sign(stranger.privateKey), invalid);
  // The public key as a secret.
  const secret = new TextEncoder().encode(read(`${kid}.pem`));
  add(`${alg}, confused`, await good().setProtectedHeader({ alg: "HS256", kid }).sign(secret), invalid);
  await importSPKI(read(`${kid}.pem`), alg);
}
const shared = new TextEncoder().encode(read("secret"));
const django = () => new SignJWT({ user_id: 46, token_type: "access", jti: "x" }).setIssuedAt().setExpirationTime("5m");
add("HS256 of the shared secret", await django().setProtectedHeader({ alg: "HS256" }).sign(shared), { user_id: "46" });
add("HS512 of the shared secret", await django().setProtectedHeader({ alg: "HS512" }).sign(shared), { user_id: "46" });
add("HS384, not configured", await django().setProtectedHeader({ alg: "HS384" }).sign(shared), invalid);
add("none", new UnsecuredJWT({ sub: "ada", scope: "avatar:write" }).setIssuer("https://sso.example.org").setAudience("pockitd").setExpirationTime("10m").encode(), invalid);
writeFileSync(`${folder}/tokens-node.json`, JSON.stringify(cases));
