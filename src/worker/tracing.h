/* tracing: `run --once --trace http`: what a run asked of the network, as lines of its log. */
#pragma once
#include "worker/fetch.h"
#include "worker/run.h"

/* Adds a line of level `trace` for each of n requests that have ended. On the run's thread. Lines
 * of a trace do not count for limits.log. */
void sm_tracing_http(sm_run *run, const sm_fetch_req *reqs, const sm_fetch_res *res, size_t n);
