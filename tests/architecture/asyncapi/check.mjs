// SPDX-License-Identifier: Apache-2.0
// Reads an AsyncAPI document from standard input and prints what the official parser has to say of it; 1 when it is no valid one.
import { Parser } from "@asyncapi/parser";
let text = ""; for await (const part of process.stdin) text += part;
const { document, diagnostics } = await new Parser().parse(text);
for (const d of diagnostics) console.log(JSON.stringify({severity: d.severity, code: d.code, path: d.path.join("/"), message: d.message}));
process.exit(document && !diagnostics.some(d => d.severity === 0) ? 0 : 1);
