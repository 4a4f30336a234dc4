#!/usr/bin/python3
"""The shipped inspections that run programs, against the real thing in both states, healthy and broken: PostgreSQL and
MariaDB servers, stock monitoring plugins, systemctl; Docker's client is a stand-in. Each finding is an event once, and
recovers when it is over; a server that is down recovers nothing."""
import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

from harness import ROOT, Skip, project, run_all, wait_for

BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
PLUGINS = pathlib.Path("/usr/lib/nagios/plugins")
PASSWORD = "correct-horse-battery"


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server in a directory of its own, run as its own user when we are root."""

    def __init__(self, user):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="selfmon-e2e-server-"))
        self.port = port()
        self.process = None
        self.clients = []
        self.user = {}
        if os.getuid() == 0:
            who = pwd.getpwnam(user)
            os.chown(self.dir, who.pw_uid, who.pw_gid)
            self.user = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}

    def call(self, *words, **kw):
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True, cwd=self.dir, timeout=120,
                              stdin=subprocess.DEVNULL, **self.user, **kw)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def start(self):
        self.process = subprocess.Popen([str(w) for w in self.command()], cwd=self.dir, stdin=subprocess.DEVNULL,
                                        stdout=open(self.dir / "log", "a"), stderr=subprocess.STDOUT,
                                        start_new_session=True, **self.user)
        wait_for(self.answers, f"{self} to answer", 60)

    def answers(self):
        assert self.process.poll() is None, (self.dir / "log").read_text(errors="replace")[-3000:]
        return self.ask("select 1", check=False).returncode == 0

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(self.STOP)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def hold(self, sql):
        """A client that stays in a query until let_go."""
        self.clients.append(self.ask(sql, wait=False))

    def let_go(self):
        for client in self.clients:
            client.kill()
            client.communicate()
        self.clients = []

    def run(self, words, env, wait, check):
        env = {**os.environ, **env}
        if not wait:
            return subprocess.Popen(words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)
        done = subprocess.run(words, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
        assert done.returncode == 0 or not check, done
        return done

    def close(self):
        self.let_go()
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Postgres(Server):
    STOP = signal.SIGINT  # fast

    def __init__(self):
        super().__init__("postgres")
        (self.dir / "pw").write_text(PASSWORD)
        self.data = self.dir / "data"
        self.call(BIN / "initdb", "-D", self.data, "-U", "postgres", "--no-sync", "--auth=scram-sha-256", "--locale=C",
                  "--encoding=UTF8", f"--pwfile={self.dir}/pw")

    def command(self):
        return [BIN / "postgres", "-D", self.data, "-p", self.port, "-k", self.dir, "-c", "listen_addresses=127.0.0.1",
                "-c", "max_connections=20", "-c", "fsync=off", "-c", "deadlock_timeout=20ms", "-c", "max_wal_senders=2"]

    def ask(self, sql, wait=True, check=True):
        return self.run(["/usr/bin/psql", "-XAtqw", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-c", sql],
                        {"PGPASSWORD": PASSWORD}, wait, check)


class MariaDB(Server):
    STOP = signal.SIGTERM

    def __init__(self):
        super().__init__("mysql")
        self.data = self.dir / "data"
        self.call("/usr/bin/mariadb-install-db", "--no-defaults", f"--datadir={self.data}", "--skip-test-db",
                  "--auth-root-authentication-method=normal", "--innodb-flush-log-at-trx-commit=0")

    def command(self):
        return ["/usr/sbin/mariadbd", "--no-defaults", f"--datadir={self.data}", f"--port={self.port}",
                f"--socket={self.dir}/s", f"--pid-file={self.dir}/pid", "--bind-address=127.0.0.1", "--max-connections=10",
                "--long-query-time=0.1", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M",
                "--skip-name-resolve"]

    def ask(self, sql, wait=True, check=True, user="root", password=""):
        return self.run(["/usr/bin/mariadb", "--no-defaults", "-N", f"--socket={self.dir}/s", "-u", user, "-e", sql],
                        {"MYSQL_PWD": password}, wait, check)


@contextlib.contextmanager
def serving(make):
    server = make()
    try:
        server.start()
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def inspecting(which, params, grants, secrets=""):
    """A project with one shipped inspection, its parameters and grants."""
    with project() as p:
        for name in (which, "lib/findings"):
            p.script(name + ".lua", (ROOT / "inspections" / (name + ".lua")).read_text())
        listed = ", ".join(f'"{g}"' for g in grants)
        p.id = which + ".run"

        def configure(**more):
            text = ", ".join(f"{k} = {lua(v)}" for k, v in {**params, **more}.items())
            p.write("selfmon.conf.lua", f'return {{ {secrets} grant = {{ ["**"] = {{ {listed} }} }}, '
                    f'params = {{ ["{p.id}"] = {{ {text} }} }} }}')
        p.configure = configure
        p.seen = set()
        configure()
        yield p


def lua(v):
    if isinstance(v, (list, tuple)):
        return "{ " + ", ".join(lua(x) for x in v) + " }"
    if isinstance(v, bool):
        return str(v).lower()
    return str(v) if isinstance(v, (int, float)) else "[==[" + str(v) + "]==]"


def look(p, outcome="ok"):
    """Runs it once; the events that were sent in it: {(check, status)}."""
    done = p.once("--json", env={"XX_DB": PASSWORD})
    run = done.json()[0]
    assert run["outcome"] == outcome, (run, done)
    new = [e for e in p.events() if e["event_id"] not in p.seen]
    p.seen.update(e["event_id"] for e in new)
    for e in new:
        assert PASSWORD not in str(e)
    p.last = {tag(e): e for e in new}
    p.run_error = run["error"]
    return {(tag(e), e["status"]) for e in new if e["delivery"] == "delivered"}


def tag(event):
    tags = event["dimension_tags"]
    return ":".join(t for t in (tags.get("container"), tags.get("check") or tags.get("unit")) if t)


def test_postgresql():
    """PostgreSQL: connections, an open transaction and deadlocks are found and recover; down is not recovered"""
    if not (BIN / "postgres").exists():
        raise Skip("postgresql-15 is not installed")
    with serving(Postgres) as db, inspecting(
            "db/postgresql", {"host": "127.0.0.1", "port": db.port, "secret": "postgresql", "transaction_warning": "1s",
                              "transaction_critical": "10h", "connections_critical": 80, "deadlocks": 1, "timeout": "30s"},
            ["exec:/usr/bin/psql", "secret:postgresql"], 'secrets = { postgresql = { env = "XX_DB" } },') as p:
        assert look(p) == set()
        for _ in range(15):
            db.hold("select pg_sleep(1000)")
        wait_for(lambda: int(db.ask("select count(*) from pg_stat_activity where query like '%pg_sleep(1000)'").stdout) >= 15
                 and db.ask("select bool_and(clock_timestamp() - xact_start > '1.1 s') from pg_stat_activity where query "
                            "like '%pg_sleep(1000)'").stdout.strip() == "t", "15 clients", 60)
        assert look(p) == {("connections", "critical"), ("transaction", "warning")}
        assert "**15 of 17**" in p.last["connections"]["message"], p.last
        assert "pg_terminate_backend(" in p.last["transaction"]["message"], p.last
        assert look(p) == set()  # nothing is new
        db.let_go()
        db.ask("select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(1000)' "
               "and pid <> pg_backend_pid()")
        wait_for(lambda: db.ask("select count(*) from pg_stat_activity where backend_type = 'client backend'").stdout
                 == "1\n", "nobody else")
        for a, b in ((1, 2), (2, 1)):
            db.hold(f"begin; select pg_advisory_xact_lock({a}); select pg_sleep(0.5); select pg_advisory_xact_lock({b})")
        wait_for(lambda: db.ask("select sum(deadlocks) > 0 from pg_stat_database").stdout == "t\n", "a deadlock", 60)
        for client in db.clients:
            client.wait(timeout=60)
        assert look(p) == {("connections", "ok"), ("transaction", "ok"), ("deadlocks", "warning")}
        db.stop()
        assert look(p) == {("reachable", "critical")}
        assert "Connection refused" in p.last["reachable"]["message"], p.last
        assert look(p) == set()
        db.start()
        assert look(p) == {("reachable", "ok"), ("deadlocks", "ok")}
        db.ask("alter role postgres password 'another'")
        assert look(p, "failed") == set()
        assert "cannot log in" in p.run_error and "password authentication failed" in p.run_error, p.run_error


def test_postgresql_replication():
    """PostgreSQL: a standby that does not apply is found on both sides, and recovers"""
    if not (BIN / "postgres").exists():
        raise Skip("postgresql-15 is not installed")

    class Standby(Postgres):
        def __init__(self):
            Server.__init__(self, "postgres")
            self.data = self.dir / "data"
            self.call(BIN / "pg_basebackup", "-h", "127.0.0.1", "-p", primary.port, "-U", "postgres", "-D", self.data, "-R",
                      "--no-sync", "-c", "fast", "-X", "stream", env={**os.environ, "PGPASSWORD": PASSWORD})
    with serving(Postgres) as primary, serving(Standby) as standby, inspecting(
            "db/postgresql", {"host": "127.0.0.1", "port": standby.port, "secret": "postgresql", "lag_warning": "1s",
                              "lag_critical": "10h", "transaction_warning": 0, "timeout": "30s"},
            ["exec:/usr/bin/psql", "secret:postgresql"], 'secrets = { postgresql = { env = "XX_DB" } },') as p:
        primary.ask("create table t(n int)")
        wait_for(lambda: standby.ask("select count(*) from t", check=False).returncode == 0, "the standby follows", 60)
        wait_for(lambda: standby.ask("select pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()").stdout == "t\n",
                 "the standby has caught up", 60)
        assert look(p) == set()
        standby.ask("select pg_wal_replay_pause()")
        primary.ask("insert into t values (1)")
        wait_for(lambda: standby.ask("select clock_timestamp() - pg_last_xact_replay_timestamp() > '1.2 s' and "
                                     "pg_last_wal_receive_lsn() <> pg_last_wal_replay_lsn()").stdout == "t\n",
                 "it to be behind", 60)
        assert look(p) == {("replication", "warning")}
        wait_for(lambda: primary.ask("select coalesce(replay_lag > '1.1 s', false) from pg_stat_replication").stdout == "t\n",
                 "the primary to know", 60)
        p.configure(port=primary.port)
        assert ("replica walreceiver", "warning") in look(p)
        p.configure(port=standby.port)
        assert ("replication", "warning") in look(p)
        standby.ask("select pg_wal_replay_resume()")
        wait_for(lambda: standby.ask("select pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()").stdout == "t\n",
                 "the standby has caught up", 60)
        assert ("replication", "ok") in look(p)


def test_mariadb():
    """MariaDB: connections, slow queries and failed logins are found and recover; full and down are not reachable"""
    if not pathlib.Path("/usr/sbin/mariadbd").exists():
        raise Skip("mariadb-server is not installed")
    with serving(MariaDB) as db, inspecting(
            "db/mysql", {"host": "127.0.0.1", "port": db.port, "user": "mon", "secret": "mysql", "slow_warning": 1,
                         "aborted_warning": 1, "timeout": "30s"},
            ["exec:/usr/bin/mysql", "secret:mysql"], 'secrets = { mysql = { env = "XX_DB" } },') as p:
        db.ask(f"create user mon@'127.0.0.1' identified by '{PASSWORD}'; create user app@localhost")
        assert look(p) == set()
        assert any("replication cannot be seen" in str(line) for line in p.runs("--log")[-1]["log"])
        for _ in range(8):
            db.hold("select sleep(1000)")
        db.ask("select sleep(0.2); select sleep(0.2); select sleep(0.2)")
        for _ in range(3):
            assert db.ask("select 1", check=False, user="app", password="wrong").returncode != 0
        wait_for(lambda: int(db.ask("show status like 'Threads_connected'").stdout.split()[1]) >= 9, "8 clients", 60)
        assert look(p) == {("connections", "warning"), ("slow", "warning"), ("aborted", "warning")}
        assert "**8 of 10**" in p.last["connections"]["message"], p.last
        for _ in range(2):
            db.hold("select sleep(1000)")
        wait_for(lambda: int(db.ask("show status like 'Threads_connected'").stdout.split()[1]) >= 11, "10 clients", 60)
        assert look(p) == {("reachable", "critical")}
        assert "Too many connections" in p.last["reachable"]["message"], p.last
        db.let_go()
        db.ask("select concat('kill ', id, ';') from information_schema.processlist where info like 'select sleep(1000)'")
        for line in db.ask("select id from information_schema.processlist where info = 'select sleep(1000)'").stdout.split():
            db.ask(f"kill {line}", check=False)
        wait_for(lambda: int(db.ask("show status like 'Threads_connected'").stdout.split()[1]) == 1, "nobody else", 60)
        # What was counted while the door was shut is still a rate in the next look.
        look(p)
        sent = look(p)
        everything = {(tag(e), e["status"]) for e in p.events()}
        assert {("reachable", "ok"), ("connections", "ok"), ("slow", "ok"), ("aborted", "ok")} <= everything, (sent, everything)
        db.stop()
        assert look(p) == {("reachable", "critical")}
        db.start()
        assert look(p) == {("reachable", "ok")}
        db.ask("set password for mon@'127.0.0.1' = password('another')")
        assert look(p, "failed") == set()
        assert "Access denied" in p.run_error, p.run_error


def test_plugins():
    """a monitoring plugin's word becomes an event, and recovers"""
    if not (PLUGINS / "check_file_age").exists():
        raise Skip("monitoring-plugins-basic is not installed")
    with tempfile.TemporaryDirectory() as where:
        backup = pathlib.Path(where) / "back up"
        backup.write_text("x")
        command = f"backup = {PLUGINS}/check_file_age -w 3600 -c 7200 -f '{backup}'"
        swap = f"{PLUGINS}/check_dummy 1 'said | n=5;1;9'"
        with inspecting("nagios/plugin", {"plugins": [command]}, [f"exec:{PLUGINS}/*"]) as p:
            assert look(p) == set()
            os.utime(backup, (10 ** 9, 10 ** 9))
            assert look(p) == {("backup", "critical")}
            assert "FILE_AGE CRITICAL" in p.last["backup"]["title"], p.last
            assert "- age **" in p.last["backup"]["message"] and "warning 3600, critical 7200" in \
                p.last["backup"]["message"], p.last
            os.utime(backup)
            assert look(p) == {("backup", "ok")}
            p.configure(plugins=[command, swap])
            assert {s for _, s in look(p)} == {"warning"}
            p.configure(plugins=[command, f"{PLUGINS}/check_file_age --no-such"])
            assert look(p, "failed") == set()
            assert "could not see" in p.run_error, p.run_error


def test_units():
    """systemctl of this machine: not booted with systemd is quiet; with it, the run ends well"""
    if not pathlib.Path("/usr/bin/systemctl").exists():
        raise Skip("there is no systemctl")
    with inspecting("host/units", {"enabled": True}, ["exec:/usr/bin/systemctl"]) as p:
        sent = look(p)
        if not pathlib.Path("/run/systemd/system").exists():
            assert sent == set()
            assert any("not booted with systemd" in str(line) for line in p.runs("--log")[-1]["log"])


def test_docker():
    """Docker's client (a stand-in): the daemon away and containers that are not well are found and recover"""
    with tempfile.TemporaryDirectory() as where:
        client, state = pathlib.Path(where) / "docker", pathlib.Path(where) / "state"
        client.write_text(f"""#!/bin/sh
[ -e {state} ] || {{ echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2; exit 1; }}
case $1 in
version) [ "$2 $3" = "--format {{{{.Server.Version}}}}" ] && echo 24.0.7 ;;
ps) [ "$*" = "ps --all --no-trunc --format {{{{json .}}}}" ] && cat {state} ;;
*) exit 125 ;;
esac
""")
        client.chmod(0o755)

        def containers(*rows):
            state.write_text("".join('{"ID":"f00","Image":"nginx:1","Names":"%s","State":"%s","Status":"%s"}\n' % r
                                     for r in rows))
        well = ("web", "running", "Up 3 hours (healthy)"), ("db", "running", "Up 3 hours")
        with inspecting("container/docker", {"enabled": True, "client": client, "expect": ["db"]}, [f"exec:{client}"]) as p:
            containers(*well)
            assert look(p) == set()
            containers(("web", "running", "Up 3 hours (unhealthy)"), ("app", "restarting", "Restarting (1) 4 seconds ago"),
                       ("db", "exited", "Exited (137) 4 seconds ago"))
            broken = {("web:unhealthy", "error"), ("app:restarting", "error"), ("db:expected", "critical")}
            assert look(p) == broken
            state.unlink()
            assert look(p) == {("daemon", "critical")}
            containers(*well)
            assert look(p) == {("daemon", "ok")} | {(t, "ok") for t, _ in broken}


if __name__ == "__main__":
    run_all(globals())
