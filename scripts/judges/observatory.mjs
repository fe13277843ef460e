// What MDN's HTTP Observatory says of headers: reads a list of header tables from standard input, and writes for each the
// results of the tests that headers.security repeats. `node observatory.mjs FOLDER`, with node_modules in the folder.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const base = pathToFileURL(`${process.argv[2]}/node_modules/@mdn/mdn-http-observatory/src/`);
const from = (path) => import(new URL(path, base));
const { Requests } = await from("types.js");
const { strictTransportSecurityTest } = await from("analyzer/tests/strict-transport-security.js");
const { xContentTypeOptionsTest } = await from("analyzer/tests/x-content-type-options.js");
const { xFrameOptionsTest } = await from("analyzer/tests/x-frame-options.js");
const { contentSecurityPolicyTest } = await from("analyzer/tests/csp.js");

const judged = JSON.parse(readFileSync(0, "utf8")).map((table) => {
  const headers = { ...table };
  Object.defineProperty(headers, "get", { enumerable: false, value: (name) => table[name.toLowerCase()] ?? null });
  const response = { headers, status: 200, verified: true };
  const requests = new Requests("unknown.example");
  requests.session = { url: new URL("https://unknown.example/") };
  Object.assign(requests.responses, { auto: response, https: response, http: null });
  return [strictTransportSecurityTest, xContentTypeOptionsTest, xFrameOptionsTest, contentSecurityPolicyTest].map(
    (test) => test(requests).result,
  );
});
process.stdout.write(JSON.stringify(judged));
