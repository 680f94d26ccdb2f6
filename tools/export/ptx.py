"""How do the PTX files of many kernels become one module?"""

import re

_ENTRY = re.compile(r"\.entry\s+(\w+)\s*\((.*?)\)", re.S)
_GLOBAL = re.compile(r"^(?:\.extern\s+|\.visible\s+)?\.(?:shared|global|const)\b[^;]*?\b([A-Za-z_$][\w$]*)\s*(?:\[[^\]]*\])?\s*(?:=[^;]*)?;", re.M)


def pointer_params(ptx, name):
    """For each parameter of the entry, whether it is the address of memory."""
    for found, text in _ENTRY.findall(ptx):
        if found == name:
            return [".ptr" in line for line in text.split(",") if line.strip()]
    raise ValueError(f"the PTX has no entry {name}")


def _without_debug(ptx):
    ptx = re.sub(r"^\s*\.section\s+\.debug.*?^\s*\}\s*$", "", ptx, flags=re.S | re.M)
    ptx = re.sub(r"^\s*\.(loc|file)\b.*$\n?", "", ptx, flags=re.M)
    ptx = re.sub(r"\s*//.*$", "", ptx, flags=re.M)
    return re.sub(r"\n{2,}", "\n", ptx).replace("\0", "")


def _header(ptx):
    """Version, target, and what comes behind the header."""
    version = re.search(r"^\.version\s+(\d+)\.(\d+)", ptx, re.M)
    target = re.search(r"^\.target\s+(.*)$", ptx, re.M)
    rest = re.sub(r"^\.(version|target|address_size)\b.*$\n?", "", ptx, flags=re.M)
    return (int(version[1]), int(version[2])), target[1].split(",")[0].strip(), rest.strip()


def merge(texts):
    """`texts`: by new name, the PTX and its entry's name. One module in which each entry has its new name, and nothing else that two of them
    declare is shared. Returns its text and the target, such as `sm_90a`."""
    parts, versions, targets = [], [], set()
    for number, (new, (ptx, entry)) in enumerate(texts.items()):
        version, target, body = _header(_without_debug(ptx))
        versions.append(version)
        targets.add(target)
        names = {match[1] for match in _GLOBAL.finditer(body)}
        names |= {match for match in re.findall(r"\.func\b[^;{]*?\b([A-Za-z_$][\w$]*)\s*\(", body) if match != "vprintf"}
        for name in names:
            if name not in ("__assertfail", "vprintf"):
                body = re.sub(rf"(?<![\w$]){re.escape(name)}(?![\w$])", f"{name}_{number}", body)
        body = re.sub(rf"(?<![\w$]){re.escape(entry)}(?=_param_|(?![\w$]))", new, body)
        parts.append(body)
    if len(targets) != 1:
        raise ValueError(f"kernels for different targets: {sorted(targets)}")
    major, minor = max(versions)
    target = targets.pop()
    text = "\n\n".join(parts)
    return f".version {major}.{minor}\n.target {target}\n.address_size 64\n\n{text}\n", target
