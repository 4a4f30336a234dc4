/* bind_http, http_opts, http_pairs, http_result: what a script's call becomes, what is a wrong
 * call, and what an answer looks like; with a fetch that only writes down what it was asked. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "worker/fetch.h"
#include "worker/modules.h"
#include "worker/run.h"
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fixture {
    sm_run run;
    sm_run_host host;
    sm_secret *secret;
    sm_buf seen; /* requests as text */
    lua_State *L;
} fixture;

static void write_req(sm_buf *b, const sm_fetch_req *r) {
    sm_buf_addf(b, "%s %s", r->method, r->url);
    for (size_t i = 0; i < r->n_headers; i++)
        sm_buf_addf(b, "\n%s: %s", r->headers[i].name, r->headers[i].value);
    if (r->content_type)
        sm_buf_addf(b, "\ntype %s", r->content_type);
    if (r->body) {
        sm_buf_addf(b, "\nbody%s ", r->body_secret ? " secret" : "");
        for (size_t i = 0; i < r->body_n; i++)
            sm_buf_addc(b, r->body[i] ? r->body[i] : '~');
    }
    if (r->timeout_s != SM_FETCH_TIMEOUT)
        sm_buf_addf(b, "\ntimeout %g", r->timeout_s);
    if (r->follow != SM_FETCH_FOLLOW)
        sm_buf_addf(b, "\nfollow %d", r->follow);
    if (!r->verify)
        sm_buf_adds(b, "\nunverified");
    if (r->max_body != SM_FETCH_BODY)
        sm_buf_addf(b, "\nmax %zu", r->max_body);
    if (r->auth == SM_AUTH_BASIC)
        sm_buf_addf(b, "\nbasic %s:%s", r->user, r->pass);
    if (r->auth == SM_AUTH_BEARER)
        sm_buf_addf(b, "\nbearer %s", r->pass);
    if (r->ca)
        sm_buf_addf(b, "\nca %s", r->ca);
    if (r->cert)
        sm_buf_addf(b, "\ncert %s key %s", r->cert, r->key);
    if (r->proxy)
        sm_buf_addf(b, "\nproxy %s", r->proxy);
    sm_buf_adds(b, "\n");
}

static void answer(const sm_fetch_req *q, sm_fetch_res *r) {
    if (strstr(q->url, "/fail")) {
        sm_fetch_res_fail(r, "connect", "shop.example: cannot connect");
    } else if (strstr(q->url, "/unfaked")) {
        sm_fetch_res_fail(r, "denied", "no fake route for %s", q->url);
        r->raise = true;
    } else {
        r->status = strstr(q->url, "/500") ? 500 : 200;
        r->url = sm_strdup(q->url);
        r->remote_ip = sm_strdup("192.0.2.1");
        r->http_version = "1.1";
        r->redirects = strstr(q->url, "/hop") ? 3 : 0;
        r->total = 0.5;
        sm_fetch_res_header(r, "Content-Type", 12, "application/json", 16);
        sm_fetch_res_header(r, "Set-Cookie", 10, "a=1", 3);
        sm_fetch_res_header(r, "Set-Cookie", 10, "b=2", 3);
        const char *body = strstr(q->url, "/bad") ? "{nope" : "{\"n\":12,\"l\":[1,2]}";
        r->body = sm_strdup(body);
        r->body_n = strlen(body);
        if (strncmp(q->url, "https", 5) == 0) {
            r->tls.present = r->tls.verified = true;
            r->tls.subject = sm_strdup("CN=shop.example");
            r->tls.issuer = sm_strdup("CN=CA");
            r->tls.not_after = 2000000000;
            r->tls.days_left = 12.5;
            r->tls.san = sm_calloc(1, sizeof(char *));
            r->tls.san[r->tls.n_san++] = sm_strdup("shop.example");
        }
    }
}

static void fetch(void *ctx, sm_run *run, const sm_fetch_req *reqs, sm_fetch_res *res, size_t n) {
    fixture *f = ctx;
    (void)run;
    for (size_t i = 0; i < n; i++) {
        write_req(&f->seen, &reqs[i]);
        answer(&reqs[i], &res[i]);
    }
}

static sm_rc get_secret(void *ctx, sm_run *run, const char *name, const sm_secret **out,
                        sm_err *err) {
    fixture *f = ctx;
    (void)run;
    (void)err;
    *out = f->secret;
    return strcmp(name, "shop") == 0 ? SM_OK : SM_NOT_FOUND;
}

/* run.c raises a stop through vm; the test's state has none, so it must not happen there. */
static int setup(void **state) {
    fixture *f = sm_calloc(1, sizeof(*f));
    f->host = (sm_run_host){.ctx = f, .fetch = fetch, .secret = get_secret};
    sm_run_init(&f->run, "demo/x.run", "", NULL, &f->host);
    f->run.phase = SM_PHASE_RUNNING;
    f->run.grants = json_pack("[s, s]", "secret:shop", "file:/etc/client/**");
    f->secret = sm_secret_new("s3cr3t-token", 12);
    sm_buf_init(&f->seen, 1 << 20);
    lua_State *L = f->L = luaL_newstate();
    sm_run *run = &f->run;
    memcpy(lua_getextraspace(L), &run, sizeof(run));
    luaL_openlibs(L);
    lua_pushcfunction(L, sm_bind_http_open);
    lua_call(L, 0, 1);
    lua_setglobal(L, "http");
    lua_pushcfunction(L, sm_bind_secret_open);
    lua_call(L, 0, 1);
    lua_setglobal(L, "secret");
    lua_pushcfunction(L, sm_bind_cjson_open);
    lua_call(L, 0, 1);
    lua_setglobal(L, "cjson");
    lua_pushliteral(L, "https://shop.example/");
    lua_setglobal(L, "U");
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    lua_close(f->L);
    sm_run_fini(&f->run);
    sm_secret_free(f->secret);
    sm_buf_fini(&f->seen);
    free(f);
    return 0;
}

/* Runs text as chunk "t"; NULL or the error. */
static const char *run_text(fixture *f, const char *text) {
    sm_buf_reset(&f->seen);
    f->run.http_count = 0;
    lua_settop(f->L, 0);
    if (luaL_loadbuffer(f->L, text, strlen(text), "=t") == LUA_OK &&
        lua_pcall(f->L, 0, 0, 0) == LUA_OK)
        return NULL;
    return lua_tostring(f->L, -1);
}

#define U "https://shop.example/"
static const struct {
    const char *name, *text, *want;
} good[] = {
    {"get", "http.get(U)", "GET " U "\n"},
    {"get with nil", "http.get(U, nil)", "GET " U "\n"},
    {"get with no options", "http.get(U, {})", "GET " U "\n"},
    {"post", "http.post(U)", "POST " U "\n"},
    {"put", "http.put(U)", "PUT " U "\n"},
    {"patch", "http.patch(U)", "PATCH " U "\n"},
    {"delete", "http.delete(U)", "DELETE " U "\n"},
    {"head", "http.head(U)", "HEAD " U "\n"},
    {"request", "http.request{url=U}", "GET " U "\n"},
    {"request method", "http.request{url=U, method='purge'}", "PURGE " U "\n"},
    {"fragment goes", "http.get(U..'#x')", "GET " U "\n"},
    {"query sorted and encoded", "http.get(U..'p', {query={b='x y&z', a=1, c={2,'q'}, d=true}})",
     "GET " U "p?a=1&b=x%20y%26z&c=2&c=q&d=true\n"},
    {"query appended", "http.get(U..'?x=1', {query={a=1.5}})", "GET " U "?x=1&a=1.5\n"},
    {"query after a lone mark", "http.get(U..'?', {query={a=2.0}})", "GET " U "?a=2\n"},
    {"query beside a fragment", "http.get(U..'#top', {query={a=1}})", "GET " U "?a=1\n"},
    {"query with NULs", "http.get(U, {query={['a\\0b']='c\\0d'}})", "GET " U "?a%00b=c%00d\n"},
    {"empty query", "http.get(U, {query={}})", "GET " U "\n"},
    {"headers sorted", "http.get(U, {headers={['X-B']='2', ['X-A']=1, ['X-C']={'p','q'}}})",
     "GET " U "\nX-A: 1\nX-B: 2\nX-C: p\nX-C: q\n"},
    {"secret header", "http.get(U, {headers={Token=secret 'shop'}})",
     "GET " U "\nToken: s3cr3t-token\n"},
    {"body", "http.post(U, {body='a\\0b'})", "POST " U "\nbody a~b\n"},
    {"empty body", "http.post(U, {body=''})", "POST " U "\nbody \n"},
    {"secret body", "http.post(U, {body=secret 'shop'})", "POST " U "\nbody secret s3cr3t-token\n"},
    {"json", "http.post(U, {json={a=1}})", "POST " U "\ntype application/json\nbody {\"a\":1}\n"},
    {"json array", "http.put(U, {json=cjson.empty_array})",
     "PUT " U "\ntype application/json\nbody []\n"},
    {"json false", "http.post(U, {json=false})", "POST " U "\ntype application/json\nbody false\n"},
    {"form", "http.post(U, {form={b='x y', a='\xc3\xbc', c={1,2}}})",
     "POST " U "\ntype application/x-www-form-urlencoded\nbody a=%C3%BC&b=x+y&c=1&c=2\n"},
    {"timeout", "http.get(U, {timeout=0.25})", "GET " U "\ntimeout 0.25\n"},
    {"timeout clamped", "http.get(U, {timeout=1e18})", "GET " U "\ntimeout 3600\n"},
    {"follow false", "http.get(U, {follow=false})", "GET " U "\nfollow 0\n"},
    {"follow true", "http.get(U, {follow=true})", "GET " U "\n"},
    {"follow count", "http.get(U, {follow=2})", "GET " U "\nfollow 2\n"},
    {"follow clamped", "http.get(U, {follow=1e18})", "GET " U "\nfollow 10\n"},
    {"verify", "http.get(U, {verify=false})", "GET " U "\nunverified\n"},
    {"max_body", "http.get(U, {max_body=1000})", "GET " U "\nmax 1000\n"},
    {"max_body clamped", "http.get(U, {max_body=1e18})", "GET " U "\n"},
    {"basic", "http.get(U, {auth={'u','p'}})", "GET " U "\nbasic u:p\n"},
    {"basic named", "http.get(U, {auth={user='u',pass=secret 'shop'}})",
     "GET " U "\nbasic u:s3cr3t-token\n"},
    {"empty password", "http.get(U, {auth={'u',''}})", "GET " U "\nbasic u:\n"},
    {"bearer", "http.get(U, {auth={bearer=secret 'shop'}})", "GET " U "\nbearer s3cr3t-token\n"},
    {"ca text", "http.get(U, {ca='-----BEGIN X'})", "GET " U "\nca -----BEGIN X\n"},
    {"cert texts", "http.get(U, {cert={cert='-----BEGIN C', key='-----BEGIN K'}})",
     "GET " U "\ncert -----BEGIN C key -----BEGIN K\n"},
    {"cert in one", "http.get(U, {cert='-----BEGIN CK'})",
     "GET " U "\ncert -----BEGIN CK key -----BEGIN CK\n"},
    {"proxy", "http.get(U, {proxy='http://p:3128'})", "GET " U "\nproxy http://p:3128\n"},
    {"no proxy", "http.get(U, {proxy=''})", "GET " U "\n"},
    {"all", "http.all{U, {url=U..'b', method='HEAD'}}", "GET " U "\nHEAD " U "b\n"},
    {"all of nothing", "assert(#http.all{} == 0)", ""},
};

static void test_good(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < SM_ARRAY_LEN(good); i++) {
        const char *error = run_text(f, good[i].text);
        if (error)
            fail_msg("%s: %s", good[i].name, error);
        if (strcmp(f->seen.data ? f->seen.data : "", good[i].want) != 0)
            fail_msg("%s: asked\n%s", good[i].name, f->seen.data ? f->seen.data : "nothing");
    }
}

static const struct {
    const char *name, *text, *want; /* the whole sentence */
} wrong[] = {
    {"no url", "http.get()", "t:1: http.get: url: expected a string, got nil"},
    {"a number", "http.get(5)", "t:1: http.get: url: expected a string, got number"},
    {"options first", "http.get{url=U}", "t:1: http.get: url: expected a string, got table"},
    {"colon", "http:get(U)",
     "t:1: http.get: url: expected a string, got table; write http.get(url), with a dot"},
    {"line", "\n\nhttp.get(5)", "t:3: http.get: url: expected a string, got number"},
    {"no scheme", "http.get('shop.example')",
     "t:1: http.get: url \"shop.example\" has no scheme; write https://… or http://…"},
    {"scheme", "http.get('file:///etc/passwd')",
     "t:1: http.get: url \"file:///etc/passwd\" only http and https can be asked"},
    {"password is not shown", "http.get('http://u:hunter2@shop.example')",
     "t:1: http.get: the url has a user or password in it; use auth = {user, pass}"},
    {"url with a newline", "http.get(U..'\\r\\nX: 1')",
     "t:1: http.get: the url has a control character at byte 22"},
    {"options no table", "http.get(U, 'x')",
     "t:1: http.get: expected a table of options, got string"},
    {"unknown option", "http.get(U, {header={}})",
     "t:1: http.get: unknown option \"header\"; did you mean \"headers\"?"},
    {"unknown, nothing near", "http.get(U, {zzzzzz=1})",
     "t:1: http.get: unknown option \"zzzzzz\""},
    {"url option of get", "http.get(U, {url=U})",
     "t:1: http.get: option \"url\" is for http.request and http.all only"},
    {"method option of get", "http.get(U, {method='PUT'})",
     "t:1: http.get: option \"method\" is for http.request and http.all only"},
    {"positional option", "http.get(U, {U})",
     "t:1: http.get: option \"(the table of options)\": expected names as keys, got a number"},
    {"timeout text", "http.get(U, {timeout='10'})",
     "t:1: http.get: option \"timeout\": expected a number of seconds, got string"},
    {"timeout table", "http.get(U, {timeout={}})",
     "t:1: http.get: option \"timeout\": expected a number of seconds, got table"},
    {"timeout 0", "http.get(U, {timeout=0})",
     "t:1: http.get: option \"timeout\": expected a number of seconds above 0"},
    {"timeout negative", "http.get(U, {timeout=-1})",
     "t:1: http.get: option \"timeout\": expected a number of seconds above 0"},
    {"timeout NaN", "http.get(U, {timeout=0/0})",
     "t:1: http.get: option \"timeout\": expected a number of seconds above 0"},
    {"timeout inf", "http.get(U, {timeout=1/0})",
     "t:1: http.get: option \"timeout\": expected a number of seconds above 0"},
    {"follow negative", "http.get(U, {follow=-1})",
     "t:1: http.get: option \"follow\": expected a boolean or a count of redirects"},
    {"follow half", "http.get(U, {follow=1.5})",
     "t:1: http.get: option \"follow\": expected a boolean or a count of redirects"},
    {"follow text", "http.get(U, {follow='1'})",
     "t:1: http.get: option \"follow\": expected a boolean or a count of redirects, got string"},
    {"max_body 0", "http.get(U, {max_body=0})",
     "t:1: http.get: option \"max_body\": expected a number of bytes, at least 1"},
    {"max_body NaN", "http.get(U, {max_body=0/0})",
     "t:1: http.get: option \"max_body\": expected a number of bytes, at least 1"},
    {"verify number", "http.get(U, {verify=0})",
     "t:1: http.get: option \"verify\": expected a boolean, got number"},
    {"headers text", "http.get(U, {headers='X: 1'})",
     "t:1: http.get: option \"headers\": expected a table of names and values, got string"},
    {"header value table of table", "http.get(U, {headers={X={{}}}})",
     "t:1: http.get: option \"headers\": X: expected a string, number, secret or list of these, "
     "got table"},
    {"header value boolean", "http.get(U, {headers={X=true}})",
     "t:1: http.get: option \"headers\": X: expected a string, number, secret or list of these, "
     "got boolean"},
    {"header injection", "http.get(U, {headers={X='1\\r\\nY: 1'}})",
     "t:1: http.get: option \"headers\": the value of header X has a control character at byte 2"},
    {"header NUL", "http.get(U, {headers={X='a\\0b'}})",
     "t:1: http.get: option \"headers\": the value of header X has a control character at byte 2"},
    {"header name injection", "http.get(U, {headers={['X\\r\\nY']='1'}})",
     "t:1: http.get: option \"headers\": \"X\\r\\nY\" is not a header name"},
    {"header name with NUL", "http.get(U, {headers={['X\\0Y']='1'}})",
     "t:1: http.get: option \"headers\": \"X\\x00Y\" is not a header name"},
    {"own header", "http.get(U, {headers={host='evil'}})",
     "t:1: http.get: option \"headers\": header Host is set by the program and cannot be given"},
    {"method injection", "http.request{url=U, method='GET / HTTP/1.1\\r\\nX: 1'}",
     "t:1: http.request: option \"method\": not an HTTP method"},
    {"connect", "http.request{url=U, method='connect'}",
     "t:1: http.request: option \"method\": CONNECT is for proxies; use the option \"proxy\""},
    {"query text", "http.get(U, {query='a=1'})",
     "t:1: http.get: option \"query\": expected a table of names and values, got string"},
    {"query NaN", "http.get(U, {query={a=0/0}})",
     "t:1: http.get: option \"query\": \"a\": expected a string, number, boolean or list of these, "
     "got NaN or infinity"},
    {"query function", "http.get(U, {query={a=print}})",
     "t:1: http.get: option \"query\": \"a\": expected a string, number, boolean or list of these, "
     "got function"},
    {"two bodies", "http.post(U, {body='x', json={}})",
     "t:1: http.post: give only one of body, json and form"},
    {"body table", "http.post(U, {body={}})",
     "t:1: http.post: option \"body\": expected a string or a secret, got table"},
    {"body of head", "http.head(U, {body='x'})", "t:1: http.head: a HEAD request has no body"},
    {"auth text", "http.get(U, {auth='u:p'})",
     "t:1: http.get: option \"auth\": expected {user, pass} or {bearer = token}, got string"},
    {"auth unknown", "http.get(U, {auth={username='u'}})",
     "t:1: http.get: option \"auth\": expected {user, pass} or {bearer = token}"},
    {"auth without password", "http.get(U, {auth={'u'}})",
     "t:1: http.get: option \"auth\": the password is missing"},
    {"auth with newline", "http.get(U, {auth={'u','a\\nb'}})",
     "t:1: http.get: option \"auth\": pass: expected a string or secret of one line"},
    {"auth user with colon", "http.get(U, {auth={'a:b','p'}})",
     "t:1: http.get: option \"auth\": a user cannot have a colon"},
    {"ca relative", "http.get(U, {ca='ca.pem'})",
     "t:1: http.get: option \"ca\": CA: expected PEM text or an absolute path"},
    {"ca not PEM", "http.get(U, {ca='/etc/passwd'})",
     "t:1: http.get: option \"ca\": /etc/passwd is not a PEM file"},
    {"cert without grant", "http.get(U, {cert='/etc/other.pem'})",
     "t:1: permission \"file:/etc/other.pem\" is not granted to demo/x.run: add it to grant in "
     "selfmon.conf.lua"},
    {"cert without key", "http.get(U, {cert={cert='-----BEGIN'}})",
     "t:1: http.get: option \"cert\": key: expected PEM text or the path of a PEM file, got nil"},
    {"proxy scheme", "http.get(U, {proxy='file:///x'})",
     "t:1: http.get: option \"proxy\": expected a URL with http, https, socks5 or socks5h"},
    {"request without url", "http.request{}", "t:1: http.request: url is missing"},
    {"request of a text", "http.request(U)",
     "t:1: http.request: expected a table of options like {url = \"https://…\"}, got string"},
    {"all of a text", "http.all(U)",
     "t:1: http.all: expected a list of URLs and tables of options, got string"},
    {"all of one request", "http.all{url=U}",
     "t:1: http.all: expected a plain list of URLs and tables of options; it has url (put one "
     "request in a table of its own)"},
    {"all, wrong item", "http.all{U, 5}", "t:1: http.all[2]: url: expected a string, got number"},
    {"all, wrong option", "http.all{U, {url=U, timeout='1'}}",
     "t:1: http.all[2]: option \"timeout\": expected a number of seconds, got string"},
    {"unfaked", "http.get(U..'unfaked')", "t:1: no fake route for " U "unfaked"},
};

static void test_wrong(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < SM_ARRAY_LEN(wrong); i++) {
        const char *error = run_text(f, wrong[i].text);
        if (!error || strcmp(error, wrong[i].want) != 0)
            fail_msg("%s: %s", wrong[i].name, error ? error : "no error");
        if (f->seen.len > 0 && !strstr(f->seen.data, "unfaked"))
            fail_msg("%s: something was asked", wrong[i].name);
    }
}

static const struct {
    const char *name, *text;
} results[] = {
    {"fields", "local r = http.get(U)\n"
               "assert(r.status == 200 and math.type(r.status) == 'integer')\n"
               "assert(r.url == U and r.remote_ip == '192.0.2.1' and r.http_version == '1.1')\n"
               "assert(r.timings.total == 0.5 and r.timings.dns == 0 and r.timings.tls == 0)\n"
               "assert(r.headers['content-type'] == 'application/json')\n"
               "assert(r.headers['Content-Type'] == 'application/json' and not r.headers.nope)\n"
               "assert(#r.headers['set-cookie'] == 2 and r.headers['Set-Cookie'][2] == 'b=2')"},
    {"tls", "local t = http.get(U).tls\n"
            "assert(t.subject == 'CN=shop.example' and t.issuer == 'CN=CA' and t.verified)\n"
            "assert(t.not_after == 2000000000 and t.days_left == 12.5)\n"
            "assert(#t.san == 1 and t.san[1] == 'shop.example')"},
    {"no tls over http", "assert(http.get('http://shop.example/').tls == nil)"},
    {"json", "local v = http.get(U):json() assert(v.n == 12 and #v.l == 2)"},
    {"bad json", "local v, why, code = http.get(U..'bad'):json()\n"
                 "assert(v == nil and code == 'json', code)\n"
                 "assert(why:find('^shop.example: the body is not JSON: '), why)"},
    {"raise_for_status",
     "local r = http.get(U) assert(r:raise_for_status() == r)\n"
     "local ok, e = pcall(function() http.get(U..'500'):raise_for_status() end)\n"
     "assert(not ok and e == 't:2: shop.example answered 500', e)"},
    {"dot for colon", "local ok, e = pcall(function() http.get(U).json() end)\n"
                      "assert(not ok and e:find('with a colon'), e)"},
    {"methods want a result", "local json = http.get(U).json\n"
                              "for _, v in ipairs{1, 'x', {}, print} do\n"
                              "  assert(not pcall(json, v)) end assert(not pcall(json))"},
    {"metatable is locked", "local m = getmetatable(http.get(U))\n"
                            "assert(m == 'selfmon.http.Result')\n"
                            "assert(not pcall(setmetatable, http.get(U), {}))"},
    {"failure", "local r, why, code = http.get(U..'fail')\n"
                "assert(r == nil and code == 'connect')\n"
                "assert(why == 'shop.example: cannot connect')"},
    {"all keeps order", "local l = http.all{U..'1', U..'fail', {url=U..'500'}}\n"
                        "assert(#l == 3 and l[1].url == U..'1' and l[3].status == 500)\n"
                        "assert(l[2].error == 'shop.example: cannot connect')\n"
                        "assert(l[2].code == 'connect' and l[2].status == nil)\n"
                        "assert(l[1]:json().n == 12)"},
    {"metamethods of options do not run",
     "local t = setmetatable({}, {__index = error, __pairs = error})\n"
     "assert(http.get(U, t).status == 200)"},
};

static void test_results(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < SM_ARRAY_LEN(results); i++) {
        const char *error = run_text(f, results[i].text);
        if (error)
            fail_msg("%s: %s", results[i].name, error);
    }
}

static void test_counts(void **state) {
    fixture *f = *state;
    assert_null(run_text(f, "http.get(U) http.all{U, U} http.get(U..'hop')"));
    assert_int_equal(f->run.http_count, 7); /* with three redirects */
}

static void test_loading(void **state) {
    fixture *f = *state;
    static const char *const names[] = {"get", "post", "put", "patch", "delete", "head"};
    char text[64], want[128];
    f->run.phase = SM_PHASE_LOADING;
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++) {
        snprintf(text, sizeof(text), "http.%s(U)", names[i]);
        snprintf(want, sizeof(want),
                 "t:1: http.%s cannot be called while a script is loading; call it inside the "
                 "function",
                 names[i]);
        assert_string_equal(run_text(f, text), want);
    }
    assert_non_null(strstr(run_text(f, "http.request{}"), "http.request cannot be called"));
    assert_non_null(strstr(run_text(f, "http.all{}"), "http.all cannot be called"));
}

static void test_no_network(void **state) {
    fixture *f = *state;
    f->host.fetch = NULL;
    assert_string_equal(run_text(f, "http.get(U)"), "t:1: http.get: there is no network here");
}

static void test_secret_in_error(void **state) {
    fixture *f = *state;
    sm_secret_free(f->secret);
    f->secret = sm_secret_new("bad\nsecret", 10);
    const char *error = run_text(f, "http.get(U, {headers={T=secret 'shop'}})");
    assert_non_null(error);
    assert_null(strstr(error, "bad"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        T(test_good),    T(test_wrong),      T(test_results),         T(test_counts),
        T(test_loading), T(test_no_network), T(test_secret_in_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
