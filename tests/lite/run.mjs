// Runs a Python program in Pyodide: node run.mjs PYODIDE_FOLDER PROGRAM FOLDER...
// Each FOLDER can be imported from, as /mount/0, /mount/1 and so on; the program's standard output is this process's.
import { readFileSync, realpathSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [home, program, ...folders] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${home}/pyodide.mjs`));
const pyodide = await loadPyodide({ stdout: (line) => console.log(line), stderr: (line) => console.error(line) });
const places = folders.map((folder, number) => {
  const place = `/mount/${number}`;
  pyodide.FS.mkdirTree(place);
  pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root: realpathSync(folder) }, place);
  return place;
});
pyodide.globals.set("places", pyodide.toPy(places));
pyodide.runPython("import sys; sys.path[:0] = places");
await pyodide.runPythonAsync(readFileSync(program, "utf8"));
