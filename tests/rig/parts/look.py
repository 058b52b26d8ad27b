"""A machine as facts, to compare it with what it was before."""

# Everything about a machine that a resource may change, one fact a line.
SCRIPT = r"""
import hashlib, os, stat, subprocess
SKIP = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/cache", "/var/lib/plumb", "/var/lib/apt",
        "/var/lib/systemd", "/usr/share", "/usr/lib", "/lib", "/var/lib/dpkg", "/etc/ld.so.cache",
        # What the account tools keep of the file before.
        *(f"/etc/{name}-" for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")))
for folder, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in SKIP]
    for name in folders + files:
        path = os.path.join(folder, name)
        if path in SKIP:
            continue
        try:
            one = os.lstat(path)
            fact = f"{path} {stat.filemode(one.st_mode)} {one.st_uid}:{one.st_gid}"
            if stat.S_ISLNK(one.st_mode):
                fact += " -> " + os.readlink(path)
            else:
                for key in sorted(os.listxattr(path)):
                    fact += f" {key}={os.getxattr(path, key).hex()}"
            if stat.S_ISREG(one.st_mode):
                with open(path, "rb") as file:
                    fact += " " + hashlib.sha256(file.read()).hexdigest()[:16]
            print(fact)
        except OSError:
            pass
for command in (["dpkg-query", "-W", "-f", "package ${Package} ${Version} ${db:Status-Abbrev}\n"],
                ["apt-mark", "showhold"], ["systemctl", "list-unit-files", "--no-legend"],
                ["systemctl", "list-units", "--all", "--no-legend", "--plain", "--type=service,socket,timer,path,mount,swap"],
                ["nft", "list", "ruleset"], ["getent", "passwd"], ["getent", "group"], ["getent", "shadow"],
                ["sysctl", "-a", "--pattern", "^(kernel.host|vm[.]|net[.]ipv[46].(ip_|conf|tcp_)|net.core)"]):
    done = subprocess.run(command, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if not line.startswith("session-"):
            print(" ".join(line.split()))
"""
