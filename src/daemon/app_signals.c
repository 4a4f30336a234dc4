/* app_signals: INT and TERM stop, the second one at once; HUP looks at the disk and reads the
 * configuration again; QUIT tells what every worker does; USR1 and USR2 are for later use and do no
 * harm. Owned by the loop's thread.
 */
#include "base/log.h"
#include "daemon/app_parts.h"
#include <signal.h>

static void on_stop_signal(uv_signal_t *handle, int number) {
    sm_app *a = handle->data;
    if (a->stopping) {
        sm_app_stop_now(a);
        return;
    }
    if (a->o.listener.stopping)
        a->o.listener.stopping(a->o.listener.ctx, number);
    if (a->o.mode != SM_APP_DAEMON && a->rc == SM_OK)
        a->rc = sm_err_set(&a->err, SM_CLOSED, "interrupted");
    sm_app_stop(a);
}

static bool reloading(const void *app) {
    const sm_app *a = app;
    return sm_catalog_busy(a->catalog) || sm_app_reload_busy(a);
}

static void on_hup_signal(uv_signal_t *handle, int number) {
    (void)number;
    sm_app *a = handle->data;
    if (!a->catalog || a->stopping)
        return;
    sm_catalog_scan(a->catalog);
    sm_app_reload_asked(a);
    if (a->o.notify && a->started)
        sm_notify_reloading(a->o.notify, reloading, a);
}

static void tell_line(void *ctx, const char *text) {
    (void)ctx;
    sm_log(SM_LOG_INFO, "%s", text);
}

static void on_quit_signal(uv_signal_t *handle, int number) {
    (void)number;
    sm_app *a = handle->data;
    if (a->dispatcher)
        sm_dispatcher_tell(a->dispatcher, tell_line, NULL);
}

static void hold_hup(int how) {
    sigset_t hup;
    sigemptyset(&hup);
    sigaddset(&hup, SIGHUP);
    pthread_sigmask(how, &hup, NULL);
}

void sm_app_signals_open(sm_app *a) {
    uv_signal_t *signals[] = {&a->on_int, &a->on_term, &a->on_hup, &a->on_quit};
    const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    const uv_signal_cb calls[] = {on_stop_signal, on_stop_signal, on_hup_signal, on_quit_signal};
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    for (size_t i = 0; i < SM_ARRAY_LEN(signals); i++) {
        uv_signal_init(&a->loop, signals[i]);
        signals[i]->data = a;
        uv_signal_start(signals[i], calls[i], numbers[i]);
    }
    hold_hup(SIG_UNBLOCK); /* main held it until somebody listens */
}

void sm_app_signals_close(sm_app *a) {
    uv_signal_t *signals[] = {&a->on_int, &a->on_term, &a->on_hup, &a->on_quit};
    if (a->o.mode == SM_APP_DAEMON)
        hold_hup(SIG_BLOCK); /* the end is as deaf to it as the beginning */
    for (size_t i = 0; i < SM_ARRAY_LEN(signals); i++)
        sm_app_close_handle((uv_handle_t *)signals[i]);
}
