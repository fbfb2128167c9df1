"""Keys of git's configuration: which are harmless, and what the others are set to.

Git starts programs that its configuration names: filters, diff and merge drivers, hooks, helpers, editors. A key that
is not listed here as harmless is emptied, so that one that a later git adds starts nothing either.
"""

from collections.abc import Mapping
from types import MappingProxyType

from elexirion_dagster.errors import PolicyError

_SSH = "ssh -oBatchMode=yes"
_DIFF = """sh -c 'echo "diff --git a/$0 b/$0"; diff -u -L "a/$0" -L "b/$0" "$1" "$4"; :'"""
"""Called with path, old file, hash, mode, new file, hash, mode."""
FIXED: Mapping[str, str] = MappingProxyType(
    {
        "core.hookspath": "/dev/null",
        "core.fsmonitor": "false",
        "safe.barerepository": "explicit",
        "gc.auto": "0",
        "maintenance.auto": "false",
        "protocol.allow": "never",
        "protocol.file.allow": "user",
        **dict.fromkeys((f"protocol.{name}.allow" for name in ("git", "http", "https", "ssh")), "always"),
    }
)
VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "GIT_CONFIG_NOSYSTEM": "1",
        # The home of a command is its workspace, whose .gitconfig is the code's. Empty, not /dev/null: git replaces the
        # file that `git config --global` writes to, and for root that is the device itself.
        "GIT_CONFIG_GLOBAL": "",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "GIT_PAGER": "cat",
        "GIT_EDITOR": ":",
        "GIT_SEQUENCE_EDITOR": ":",
        "GIT_SSH_COMMAND": _SSH,
        "GIT_PROXY_COMMAND": "",  # core.gitProxy can only be overridden here: its first value wins
        "GNUPGHOME": "/dev/null",  # else gpg reads .gnupg of the workspace, which may name programs too
    }
)
_SECTIONS = (
    "add advice am apply attr author bitmappseudomerge blame branch bundle checkout clean clone color column commit"
    " commitgraph committer completion fastimport feature fetch format fsck fsmonitor gc gitweb grep gui http i18n"
    " index log lsrefs mailinfo mailmap maintenance notes pack pretty promisor pull push rebase receive reftable"
    " remotes repack replay rerere revert showbranch sideband sparse splitindex ssh stash status submodule tag"
    " transfer uploadarchive uploadpackfilter user versionsort worktree"
)
"""Sections of which every key is harmless, apart from those in `_NEUTRAL`."""
_KEYS = MappingProxyType(
    {
        "core": "abbrev attributesfile autocrlf bare bigfilethreshold checkroundtripencoding checkstat commentchar"
        " commentstring commitgraph compression configlocktimeout createobject deltabasecachelimit eol excludesfile"
        " filemode filesreflocktimeout fsmonitorhookversion fsync fsyncmethod fsyncobjectfiles hidedotfiles ignorecase"
        " ignorestat lockfilepid logallrefupdates loosecompression maxtreedepth multipackindex notesref"
        " packedgitlimit packedgitwindowsize packedrefstimeout precomposeunicode prefersymlinkrefs preloadindex"
        " protecthfs protectntfs quotepath repositoryformatversion safecrlf sharedrepository sparsecheckout"
        " sparsecheckoutcone splitindex symlinks trustctime untrackedcache usereplacerefs warnambiguousrefs whitespace"
        " worktree",
        "diff": "algorithm autorefreshindex binary colormoved colormovedws context dirstat dstprefix funcname"
        " ignoresubmodules indentheuristic interhunkcontext mnemonicprefix noprefix orderfile relative renamelimit"
        " renames srcprefix statgraphwidth statnamewidth submodule suppressblankempty wordregex wserrorhighlight"
        " xfuncname",
        "merge": "autostash branchdesc conflictstyle defaulttoupstream directoryrenames ff log name recursive"
        " renamelimit renames renormalize stat suppressdest verbosity verifysignatures",
        "remote": "advertisedas fetch followremotehead mirror negotiationinclude negotiationrestrict"
        " partialclonefilter promisor proxy proxyauthmethod prune prunetags push pushdefault pushurl serveroption"
        " skipdefaultupdate skipfetchall tagopt url",
        "init": "defaultbranch defaultobjectformat defaultrefformat",
        "interactive": "singlekey",
        "gpg": "format mintrustlevel allowedsignersfile revocationfile",
        "help": "autocorrect format",
        "credential": "usehttppath username",
        "tar": "umask",
        "protocol": "version",
        "uploadpack": "allowanysha1inwant allowfilter allowreachablesha1inwant allowrefinwant allowtipsha1inwant"
        " hiderefs keepalive packobjectshook",  # git reads packObjectsHook in nobody's repository
        "trailer": "separators where ifexists ifmissing key",
    }
)
"""Harmless keys of the other sections, whatever the subsection."""
_NEUTRAL = MappingProxyType(
    {
        "core.editor": ":",
        "core.pager": "cat",
        "core.sshcommand": _SSH,
        "core.alternaterefscommand": "true",
        "sequence.editor": ":",
        "interactive.difffilter": "cat",
        "diff.external": _DIFF,
        "diff.command": _DIFF,
        "diff.textconv": "cat",
        "merge.driver": "git merge-file --marker-size=%L %A %O %B",
        "gpg.program": "false",
        "commit.gpgsign": "false",
        "tag.gpgsign": "false",
        "tag.forcesignannotated": "false",
        "push.gpgsign": "false",
        "log.showsignature": "false",
        "http.savecookies": "false",
        "http.cookiefile": "",
        "credential.sanitizeprompt": "true",
        "credential.protectprotocol": "true",
    }
)
"""What a key is set to where an empty value would break git, or would not do."""
_UNTOUCHED = frozenset({"extensions", "safe", "url", "include", "includeif"})
"""Git reads `extensions` and `safe` from certain files only; an empty `url.*.insteadOf` would match every URL."""
_FIRST_WINS = frozenset({"remote.uploadpack", "remote.receivepack"})
"""Run on this machine only for a remote on this machine, which is refused where one of them is set."""
_NEVER = frozenset({"gc.recentobjectshook"})
"""All values of it are run, so that no further one switches it off."""


def override(name: str, value: str) -> dict[str, str]:
    """What is set beside a key of a repository so that it starts nothing; empty for a harmless one.

    `name` is as git lists it, with section and last word in small letters. Raises PolicyError for one that no other
    value switches off.
    """
    section, _, rest = name.partition(".")
    key = rest.rpartition(".")[2]
    kind = f"{section}.{key}"
    if kind in _NEVER:
        message = f"the git configuration of the repository sets {name}, which cannot be switched off"
        raise PolicyError(message, cause="tool_denied", mend=f"Remove it: git config --unset-all {name}.")
    if kind in _FIRST_WINS:
        return {"protocol.file.allow": "never"}
    if name in FIXED or section in _UNTOUCHED:
        return {}
    if kind in _NEUTRAL:
        return {name: _NEUTRAL[kind]}
    if kind == "submodule.update":
        return {name: "checkout"} if value.startswith("!") else {}
    if kind == "protocol.allow":
        return {name: "never"}
    return {} if section in _SECTIONS.split() or key in _KEYS.get(section, "").split() else {name: ""}
