/* app_signals: INT and TERM stop, the second one at once; HUP looks at the disk; QUIT tells what
 * every worker does. Owned by the loop's thread.
 */
#include "base/log.h"
#include "daemon/app_parts.h"
#include <signal.h>
#include <stdlib.h>

static void on_stop_signal(uv_signal_t *handle, int number) {
    sm_app *a = handle->data;
    if (a->stopping) {
        /* The second one stops now: workers end with us, the store is whole at any instant. */
        sm_log(SM_LOG_WARN, "stopped at once; what was running is recorded at the next start");
        uv_stop(&a->loop);
        return;
    }
    if (a->o.listener.stopping)
        a->o.listener.stopping(a->o.listener.ctx, number);
    if (a->o.mode != SM_APP_DAEMON && a->rc == SM_OK)
        a->rc = sm_err_set(&a->err, SM_CLOSED, "interrupted");
    sm_app_stop(a);
}

static bool scanning(const void *catalog) {
    return sm_catalog_busy(catalog);
}

static void on_hup_signal(uv_signal_t *handle, int number) {
    (void)number;
    sm_app *a = handle->data;
    if (!a->catalog || a->stopping)
        return;
    sm_catalog_scan(a->catalog);
    if (a->o.notify && a->started)
        sm_notify_reloading(a->o.notify, scanning, a->catalog);
}

static void on_quit_signal(uv_signal_t *handle, int number) {
    (void)number;
    sm_app *a = handle->data;
    if (!a->dispatcher)
        return;
    json_t *status = sm_dispatcher_status(a->dispatcher);
    char *text = sm_json_dump(status, NULL);
    sm_log(SM_LOG_INFO, "workers: %s", text);
    free(text);
    json_decref(status);
}

void sm_app_signals_open(sm_app *a) {
    uv_signal_t *signals[] = {&a->on_int, &a->on_term, &a->on_hup, &a->on_quit};
    const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    const uv_signal_cb calls[] = {on_stop_signal, on_stop_signal, on_hup_signal, on_quit_signal};
    for (size_t i = 0; i < SM_ARRAY_LEN(signals); i++) {
        uv_signal_init(&a->loop, signals[i]);
        signals[i]->data = a;
        uv_signal_start(signals[i], calls[i], numbers[i]);
    }
}

void sm_app_signals_close(sm_app *a) {
    uv_signal_t *signals[] = {&a->on_int, &a->on_term, &a->on_hup, &a->on_quit};
    for (size_t i = 0; i < SM_ARRAY_LEN(signals); i++)
        sm_app_close_handle((uv_handle_t *)signals[i]);
}
