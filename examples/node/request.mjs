// Asks for a decision and waits for it. `make contracts` writes what it loads; docs/languages.md explains each step.
import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const { PLACET_ADDRESS = "127.0.0.1:7400", PLACET_TOKEN_FILE = ".placet/tokens/caller" } = process.env;
const { PLACET_CONTRACTS = "dist/contracts", PLACET_CA_FILE } = process.env;

const contracts = protoLoader.loadSync(
  ["placet/approval/v1/approval_service.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"],
  { includeDirs: [PLACET_CONTRACTS], keepCase: true, enums: String, longs: String, defaults: true },
);
const { ApprovalService } = grpc.loadPackageDefinition(contracts).placet.approval.v1;
const credentials = PLACET_CA_FILE
  ? grpc.credentials.createSsl(readFileSync(PLACET_CA_FILE))
  : grpc.credentials.createInsecure();
const client = new ApprovalService(PLACET_ADDRESS, credentials);

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

const [title = "Pay invoice 4711", approver = "alice@example.com"] = process.argv.slice(2);
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
    if (outcome) console.log(`${outcome.state} by ${outcome.approver}: ${outcome.reasoning}`);
  }
} catch (error) {
  console.error(`${reason(error)}: ${error.details ?? error.message}`);
  process.exitCode = 1;
} finally {
  client.close();
}
