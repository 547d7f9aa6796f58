// Builds the page of `perse export --format html` into the package, or with --check says whether it is up to date.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const here = (path) => new URL(path, import.meta.url);
const target = here("../src/perse/export/page.html");

const script = await build({
  entryPoints: [here("src/main.ts").pathname],
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  write: false,
});
const style = await build({
  stdin: { contents: readFileSync(here("src/page.css"), "utf8"), loader: "css" },
  minify: true,
  target: ["chrome111", "safari16.4", "firefox113"],
  write: false,
});
const code = script.outputFiles[0].text.trim();
if (code.includes("</script")) throw new Error("the script would end itself");
const css = style.outputFiles[0].text.trim();
const hash = (text) => `sha256-${createHash("sha256").update(text).digest("base64")}`;
const values = { script: code, style: css, "script-hash": hash(code), "style-hash": hash(css) };
const page = readFileSync(here("src/page.html"), "utf8").replace(
  /\{\{([a-z-]+)\}\}/g,
  (hole, name) => values[name] ?? hole,
);
if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== page) {
    console.error("src/perse/export/page.html is not what web/ builds to: run tools/build_page.sh");
    process.exit(1);
  }
} else {
  writeFileSync(target, page);
  console.log(`${target.pathname}: ${page.length} characters`);
}
