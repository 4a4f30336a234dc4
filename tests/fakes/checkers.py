"""The `self_built_checker` family of the stand-in platform: rows, and operations that refuse everything
the documentation does not name.

Operations return the content of the envelope or raise Refused. Rows are dicts in the documented shape
of `list`; deleted ones stay in `buried`.
"""
import copy
import re
import time
import uuid

CREATE = {"refKey", "title", "refFuncInfo", "monitorUUID", "alertPolicyUUIDs", "isDisabled"}
MODIFY = {"ruleUUID", "refKey", "title", "refFuncInfo", "monitorUUID", "alertPolicyUUIDs"}
INFO = {"funcId": str, "description": str, "definition": str, "category": str, "args": list, "kwargs": dict}
LIST = {"refKey", "checkerUUID", "monitorUUID", "alertPolicyUUID", "search", "pageIndex", "pageSize"}
OK, DISABLED = 0, 2


class Refused(Exception):
    """An answer that is an error; `strict` = the request itself breaks the documentation."""

    def __init__(self, status, code, message, strict=True):
        super().__init__(message)
        self.status, self.code, self.message, self.strict = status, code, message, strict


def invalid(message):
    return Refused(400, "ft.InvalidParameters", message)


def names(given, allowed, what):
    for key in given:
        if key not in allowed:
            raise invalid(f"{what}: unknown field {key!r}")
        if given[key] is None:
            raise invalid(f"{what}: {key} is null")


def check_info(info, create):
    if not isinstance(info, dict):
        raise invalid("refFuncInfo is no object")
    names(info, INFO if create else set(INFO) - {"funcId"}, "refFuncInfo")
    for key, value in info.items():
        if not isinstance(value, INFO[key]):
            raise invalid(f"refFuncInfo.{key} is {value!r}")
    if create and not info.get("funcId"):
        raise invalid("refFuncInfo.funcId is missing")
    if create and ("/" in info["funcId"] or not re.match(r"[\w.@-]+\Z", info["funcId"])):
        raise invalid(f"refFuncInfo.funcId {info['funcId']!r}")
    args, kwargs = info.get("args", []), info.get("kwargs", {})
    if not all(isinstance(a, str) for a in args) or len(set(args)) != len(args):
        raise invalid(f"refFuncInfo.args {args!r}")
    if "args" in info and "kwargs" in info and list(kwargs) and sorted(kwargs) != sorted(args):
        raise invalid(f"refFuncInfo.kwargs {sorted(kwargs)} are not its args {args}")
    for name, value in kwargs.items():
        if not isinstance(value, dict) or set(value) - {"default"}:
            raise invalid(f"refFuncInfo.kwargs.{name} is {value!r}")


def check_title(title):
    if not isinstance(title, str) or not title or "\n" in title or len(title) > 256:
        raise invalid(f"title {title!r}")


def check_ref_key(key):
    if not isinstance(key, str) or not 0 < len(key) <= 48 or key != key.lower():
        raise invalid(f"refKey {key!r}")


class Checkers:
    """Rows of one workspace. `created` and `modified` keep the bodies as they came."""

    def __init__(self, creator):
        self.creator = creator
        self.rows, self.buried = [], []
        self.created, self.modified = [], []
        self.listed = []  # (time, keys or None) of each list
        self.complaints = []
        self.list_as_array = False
        self.get_missing = "404"  # or "not_found", "null": nobody documents it
        self.created_content = {}  # the documentation leaves it blank
        self.max_rows_of_a_page = 100

    # what tests do as a person at the platform
    def of_key(self, key):
        return [r for r in self.rows if r["refKey"] == key]

    def ever(self, key):
        return [r for r in self.rows + self.buried if r["refKey"] == key]

    def of_func(self, func_id):
        found = [r for r in self.rows if r["jsonScript"]["refFuncInfo"]["funcId"] == func_id]
        assert len(found) == 1, f"{len(found)} rows of {func_id}: {[r['refKey'] for r in found]}"
        return found[0]

    def add(self, body):
        now = int(time.time())
        info = {"description": "", "definition": "", "category": "general", "args": [], "kwargs": {},
                **copy.deepcopy(body["refFuncInfo"])}
        row = {"uuid": "rul_" + uuid.uuid4().hex, "id": 660 + len(self.rows) + len(self.buried),
               "refKey": body["refKey"], "type": "self_built_trigger",
               "status": DISABLED if body.get("isDisabled") else OK, "isLocked": 0, "createdWay": "manual",
               "jsonScript": {"type": "selfBuiltCheck", "name": body["title"], "title": body["title"],
                              "callKwargs": {}, "refFuncInfo": info},
               "monitorUUID": body.get("monitorUUID", ""), "monitorName": "", "alertPolicyInfos": [],
               "secret": "", "crontabInfo": {}, "extend": {}, "createAt": now, "updateAt": now, "deleteAt": -1,
               "creator": self.creator, "updator": self.creator, "workspaceUUID": "wksp_0"}
        self.rows.append(row)
        return row

    def bury(self, row):
        self.rows.remove(row)
        self.buried.append({**row, "status": 3, "deleteAt": int(time.time())})

    # the documented operations
    def create(self, body):
        names(body, CREATE, "create")
        for key in ("refKey", "title", "refFuncInfo"):
            if key not in body:
                raise invalid(f"create: {key} is missing")
        check_ref_key(body["refKey"])
        check_title(body["title"])
        check_info(body["refFuncInfo"], True)
        if not isinstance(body.get("isDisabled", False), bool):
            raise invalid("create: isDisabled is no boolean")
        if self.of_key(body["refKey"]):
            self.complaints.append(f"a second row was created with the association key {body['refKey']}")
        self.created.append(body)
        self.add(body)
        return copy.deepcopy(self.created_content)

    def one(self, body, what):
        given = [k for k in ("ruleUUID", "refKey") if k in body]
        if len(given) != 1:
            raise invalid(f"{what}: exactly one of ruleUUID and refKey is expected")
        field = {"ruleUUID": "uuid", "refKey": "refKey"}[given[0]]
        for row in self.rows:
            if row[field] == body[given[0]]:
                return row
        raise Refused(404, "ft.NotFoundRuleInspector", f"{what}: no such inspection", strict=False)

    def modify(self, body):
        names(body, MODIFY, "modify")
        row = self.one(body, "modify")
        if "title" in body:
            check_title(body["title"])
        if "refFuncInfo" in body:
            check_info(body["refFuncInfo"], False)
            old = row["jsonScript"]["refFuncInfo"]
            # Nobody documents whether it merges: it replaces, so that a half-sent object is noticed.
            row["jsonScript"]["refFuncInfo"] = {"funcId": old["funcId"], "description": "", "definition": "",
                                                "category": "general", "args": [], "kwargs": {},
                                                **copy.deepcopy(body["refFuncInfo"])}
        if "title" in body:
            row["jsonScript"]["title"] = row["jsonScript"]["name"] = body["title"]
        row["updateAt"] = int(time.time())
        self.modified.append(body)
        return copy.deepcopy(self.created_content)

    def get(self, query):
        names(query, {"refKey", "ruleUUID"}, "get")
        try:
            return copy.deepcopy(self.one(query, "get"))
        except Refused as error:
            if error.status != 404 or self.get_missing == "404":
                raise
            if self.get_missing == "null":
                return None
            raise Refused(200, error.code, error.message, strict=False) from None

    def list(self, query):
        names(query, LIST, "list")
        index, size = int(query.get("pageIndex", 1)), int(query.get("pageSize", 10))
        if index < 1 or not 1 <= size <= 100:
            raise invalid(f"list: pageIndex {index}, pageSize {size}")
        keys = query["refKey"].split(",") if "refKey" in query else None
        for key in keys or []:
            check_ref_key(key)
        search = query.get("search", "").lower()
        found = [r for r in self.rows
                 if (keys is None or r["refKey"] in keys) and search in r["jsonScript"]["title"].lower()
                 and query.get("checkerUUID", r["uuid"]) == r["uuid"]]
        self.listed.append((time.time(), keys))
        page = copy.deepcopy(found[(index - 1) * size:index * size])
        info = {"pageIndex": index, "pageSize": size, "count": len(page), "totalCount": len(found)}
        return (page if self.list_as_array else {"data": page, "declaration": {}}), info

    def rows_of(self, body, what):
        names(body, {"ruleUUIDs", "refKey"}, what)
        if "ruleUUIDs" not in body:
            return [self.one(body, what)]
        return [self.one({"ruleUUID": u}, what) for u in body["ruleUUIDs"]]

    def set_status(self, body, status, what):
        for row in self.rows_of(body, what):
            row["status"] = status
        return True

    def delete(self, body):
        names(body, {"ruleUUID", "refKey"}, "delete")
        self.bury(self.one(body, "delete"))
        return True

    def batch_delete(self, body):
        names(body, {"ruleUUIDs"}, "batch_delete")
        for row in self.rows_of(body, "batch_delete"):
            self.bury(row)
        return True
