// The rules for ipy_imgvar/panel/front. tsc finds undefined names, since it knows the browser's own.
import js from "@eslint/js";

const LAST = ["**/panel.js", "**/joined.js"];

export default [
  {
    ...js.configs.recommended,
    linterOptions: { reportUnusedDisableDirectives: "error" },
    languageOptions: { ecmaVersion: 2022, sourceType: "script" },
    rules: {
      ...js.configs.recommended.rules,
      "no-undef": "off",
      // A file's top-level names are for the other files; the joined module shows the unused ones.
      "no-unused-vars": ["error", { vars: "local", args: "after-used" }],
      eqeqeq: "error",
      // Text from the kernel is never markup, and nothing is loaded from anywhere.
      "no-restricted-globals": ["error", "fetch", "XMLHttpRequest", "WebSocket", "EventSource", "eval", "importScripts"],
      "no-restricted-properties": [
        "error",
        { object: "document", property: "write" },
        ...["innerHTML", "outerHTML", "insertAdjacentHTML", "srcdoc"].map((property) => ({ property })),
      ],
      "no-implied-eval": "error",
      "no-var": "error",
      "prefer-const": ["error", { destructuring: "all" }],
    },
  },
  { files: LAST, languageOptions: { sourceType: "module" } },
  { files: ["**/joined.js"], rules: { "no-unused-vars": "error" } },
];
