"""Every shipped ast-grep rule finds its bad example, passes over its good one."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from elexirion_dagster.codebase.analyzers.ast_grep import RULES
from elexirion_dagster.codebase.analyzers.catalog import analyze
from elexirion_dagster.codebase.files import list_files
from elexirion_dagster.redact import Redactor

EXAMPLES: Mapping[str, tuple[str, str, str]] = {
    "js-eval": (".ts", "const total: number = eval(input);", 'eval("1 + 1"); JSON.parse(input); evaluate(input);'),
    "js-function-constructor": (
        ".js",
        "const f = new Function('a', body);",
        'new Function("return 1"); new Functions(b);',
    ),
    "js-timer-string": (".mjs", 'setTimeout("tick()", 10);', "setTimeout(tick, 10); setTimeout(() => tick(), 10);"),
    "js-html-assignment": (".tsx", "box.innerHTML = `<b>${name}</b>`;", 'box.innerHTML = ""; box.textContent = name;'),
    "js-shell-command": (
        ".js",
        "execSync(`git log ${branch}`, {});",
        'execSync("git log"); execFile("git", [branch]);',
    ),
    "js-tls-unverified": (
        ".ts",
        "https.get({ rejectUnauthorized: false });",
        "https.get({ rejectUnauthorized: true });",
    ),
    "js-weak-hash": (".cjs", "crypto.createHash('MD5');", "crypto.createHash('sha256'); createHash(name);"),
    "js-compare-nan": (".jsx", "if (x === NaN) { f(); }", "if (Number.isNaN(x)) { f(); }"),
    "go-tls-unverified": (
        ".go",
        "package a\nvar c = tls.Config{InsecureSkipVerify: true}\n",
        "package a\nvar c = tls.Config{InsecureSkipVerify: false}\n",
    ),
    "go-sql-from-text": (
        ".go",
        "package a\nfunc f() { db.Query(fmt.Sprintf(\"SELECT * FROM t WHERE n = '%s'\", name)) }\n",
        'package a\nfunc f() { db.Query("SELECT * FROM t WHERE n = ?", name); log.Print(fmt.Sprintf("%s", name)) }\n',
    ),
    "go-shell-command": (
        ".go",
        'package a\nfunc f() { exec.Command("sh", "-c", line).Run() }\n',
        'package a\nfunc f() { exec.Command("sh", "-c", "ls -l").Run(); exec.Command("ls", dir).Run() }\n',
    ),
    "go-defer-in-loop": (
        ".go",
        "package a\nfunc f() { for _, p := range ps { g, _ := os.Open(p); defer g.Close() } }\n",
        "package a\nfunc f() { defer g.Close(); for _, p := range ps { func() { defer h(p) }() } }\n",
    ),
    "go-weak-hash": (".go", "package a\nvar h = md5.New()\n", "package a\nvar h = sha256.New()\n"),
    "rust-tls-unverified": (
        ".rs",
        "fn f() { let c = Client::builder().danger_accept_invalid_certs(true).build(); }",
        "fn f() { let c = Client::builder().danger_accept_invalid_certs(false).build(); }",
    ),
    "rust-uninitialized-memory": (
        ".rs",
        "fn f() { let x: u8 = unsafe { std::mem::uninitialized() }; }",
        "fn f() { let x = std::mem::MaybeUninit::<u8>::uninit(); }",
    ),
    "rust-transmute": (
        ".rs",
        "fn f(x: u32) -> f32 { unsafe { std::mem::transmute::<u32, f32>(x) } }",
        "fn f(x: u32) -> f32 { f32::from_bits(x) }",
    ),
    "elixir-atom-from-text": (
        ".ex",
        'defmodule A do\n  def f(x), do: String.to_atom("k_#{x}")\nend\n',
        'defmodule A do\n  def f(x), do: {String.to_existing_atom(x), String.to_atom("fixed")}\nend\n',
    ),
    "elixir-code-eval": (
        ".exs",
        "Code.eval_string(text)\n",
        "Code.string_to_quoted(text)\n",
    ),
    "elixir-unsafe-term": (
        ".ex",
        "defmodule A do\n  def f(b), do: :erlang.binary_to_term(b)\nend\n",
        "defmodule A do\n  def f(b), do: :erlang.binary_to_term(b, [:safe])\nend\n",
    ),
    "java-command-from-text": (
        ".java",
        'class A { void f(String d) throws Exception { Runtime.getRuntime().exec("ls " + d); } }',
        'class A { void f(String d) throws Exception { Runtime.getRuntime().exec(new String[] {"ls", d}); } }',
    ),
    "java-sql-from-text": (
        ".java",
        'class A { void f(String n) { s.executeQuery("SELECT * FROM t WHERE n = \'" + n + "\'"); } }',
        'class A { void f() { s.executeQuery("SELECT 1"); p.executeQuery(); } }',
    ),
    "java-string-identity": (
        ".java",
        'class A { boolean f(String s) { return s == "yes"; } }',
        'class A { boolean f(String s, int n) { return "yes".equals(s) && n == 1; } }',
    ),
    "java-unsafe-deserialization": (
        ".java",
        "class A { Object f(InputStream i) throws Exception { return new ObjectInputStream(i).readObject(); } }",
        "class A { Object f(InputStream i) throws Exception { return new JsonReader(i).read(); } }",
    ),
    "java-weak-hash": (
        ".java",
        'class A { void f() throws Exception { MessageDigest.getInstance("SHA-1"); } }',
        'class A { void f() throws Exception { MessageDigest.getInstance("SHA-256"); } }',
    ),
}


def rules_found(folder: Path) -> list[tuple[str, str]]:
    files = list_files(folder, git=None).files
    analysis = analyze(files, root=folder, tools=["ast-grep"], workers=1, timeout_s=60, redactor=Redactor())
    assert [tool["status"] for tool in analysis.tools] == ["ran"]
    return [(finding.path, finding.rule) for finding in analysis.findings]


@pytest.mark.parametrize("rule", EXAMPLES)
def test_a_rule_finds_its_bad_example_and_nothing_in_its_good_one(rule: str, tmp_path: Path):
    suffix, bad, good = EXAMPLES[rule]
    (tmp_path / f"bad{suffix}").write_text(bad)
    (tmp_path / f"good{suffix}").write_text(good)

    assert rules_found(tmp_path) == [(f"bad{suffix}", rule)]


def test_every_shipped_rule_has_an_example():
    shipped = [
        name for file in RULES.glob("languages/*.yml") for name in re.findall(r"(?m)^id: (.+)$", file.read_text())
    ]

    assert sorted(shipped) == sorted(EXAMPLES)
