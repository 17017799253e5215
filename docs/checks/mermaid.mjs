// SPDX-License-Identifier: Apache-2.0
// Reads [{place, code}] from standard input; prints a line for each diagram that Mermaid cannot parse, and exits with 1 then.
import { JSDOM } from "jsdom";

const { window } = new JSDOM("");
globalThis.window = window;
globalThis.document = window.document;
const { default: mermaid } = await import("mermaid");

let text = "";
for await (const piece of process.stdin) text += piece;
for (const { place, code } of JSON.parse(text)) {
  try {
    await mermaid.parse(code);
  } catch (error) {
    process.exitCode = 1;
    console.log(`${place}: ${error.message}`);
  }
}
