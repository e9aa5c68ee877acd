// Asks for a decision and waits for it. `make contracts` writes what it loads; docs/languages.md explains each step.
// It runs from any folder: without variables it asks the stack that `placet up` runs in this repository.
import { randomBytes, randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const top = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const { PLACET_APPROVAL_ADDRESS = "127.0.0.1:7400", PLACET_TLS_CA_FILE } = process.env;
const { PLACET_TOKEN_FILE = top(".placet/tokens/caller"), PLACET_CONTRACTS = top("dist/contracts") } = process.env;

function give_up(message, status = 1) {
  console.error(message);
  process.exit(status);
}

const [title, approver, ...more] = process.argv.slice(2);
if (!approver || more.length) give_up('Usage: node request.mjs TITLE APPROVER, e.g. "Pay invoice 4711" alice@example.com', 2);
for (const [path, remedy] of [
  [PLACET_CONTRACTS, "`make contracts` writes the contracts; PLACET_CONTRACTS names another folder."],
  [PLACET_TOKEN_FILE, "Is the stack up? `placet up` writes the token; PLACET_TOKEN_FILE names another file."],
  ...(PLACET_TLS_CA_FILE ? [[PLACET_TLS_CA_FILE, "PLACET_TLS_CA_FILE names it."]] : []),
]) {
  if (!existsSync(path)) give_up(`${path} does not exist. ${remedy}`);
}

const [{ default: grpc }, { default: protoLoader }] = await Promise.all([
  import("@grpc/grpc-js"),
  import("@grpc/proto-loader"),
]).catch((error) => give_up(`${error.message}\n\`npm install --prefix examples/node\` installs what it needs.`));

const contracts = protoLoader.loadSync(
  ["placet/approval/v1/approval_service.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"],
  { includeDirs: [PLACET_CONTRACTS], keepCase: true, enums: String, longs: String, defaults: true },
);
const { ApprovalService } = grpc.loadPackageDefinition(contracts).placet.approval.v1;
const credentials = PLACET_TLS_CA_FILE
  ? grpc.credentials.createSsl(readFileSync(PLACET_TLS_CA_FILE))
  : grpc.credentials.createInsecure();
const client = new ApprovalService(PLACET_APPROVAL_ADDRESS, credentials);

const trace = `00-${randomBytes(16).toString("hex")}-${randomBytes(8).toString("hex")}-01`;
const RETRIED = [grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED, grpc.status.RESOURCE_EXHAUSTED];

function call(method, request, seconds) {
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${readFileSync(PLACET_TOKEN_FILE, "utf8").trim()}`);
  metadata.set("traceparent", trace);
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + seconds * 1000;
    client[method](request, metadata, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

// The same request, thus the same request_id, again: that is safe for every RPC of Placet.
async function patiently(method, request, seconds, attempts = 5) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call(method, request, seconds);
    } catch (error) {
      if (attempt === attempts || !RETRIED.includes(error.code)) throw error;
      await new Promise((wake) => setTimeout(wake, 250 * 2 ** attempt * Math.random()));
    }
  }
}

// The reason, by which a program decides; the message is for people.
function reason(error) {
  const [status] = error.metadata?.get("grpc-status-details-bin") ?? [];
  const details = status ? contracts["google.rpc.Status"].deserialize(status).details : [];
  const info = details.find((detail) => detail.type_url.endsWith("/google.rpc.ErrorInfo"));
  return info ? contracts["google.rpc.ErrorInfo"].deserialize(info.value).reason : grpc.status[error.code];
}

try {
  const { approval_id } = await patiently("RequestApproval", {
    request_id: randomUUID(),
    title,
    content: { body: Buffer.from("EUR 950 to ACME"), media_type: "text/plain" },
    policy: "simple",
    approval: {},
    assignments: [{ slot: "required_approver", people: [approver] }],
  }, 10);
  console.log(approval_id);
  for (let outcome = null; !outcome; ) {
    ({ approval: { outcome } } = await patiently("AwaitOutcome", { approval_id }, 30));
    if (outcome) console.log([`${outcome.state} by ${outcome.approver}`, outcome.reasoning].filter(Boolean).join(": "));
  }
} catch (error) {
  console.error(`${reason(error)}: ${error.details ?? error.message}`);
  if (error.code === grpc.status.UNAVAILABLE) {
    console.error(`Is the stack up at ${PLACET_APPROVAL_ADDRESS}? \`placet up\` starts one.`);
  }
  process.exitCode = 1;
} finally {
  client.close();
}
