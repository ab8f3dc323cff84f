// One kernel (KERNEL, from KERNEL_FILE) for the host; linked with runner.cpp. See cuda_on_host.h.
#include "cuda_on_host.h"

#include KERNEL_FILE

#include <utility>

#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED 16
#endif
thread_local uint4 shared_memory[(DYNAMIC_SHARED + 15) / 16];
void host_touch_shared() { shared_memory[0].x = 0; }

template <class... P, size_t... I>
static void apply(void (*kernel)(P...), void** arguments, std::index_sequence<I...>) {
    kernel(*(P*)arguments[I]...);
}

template <class... P>
static void call(void (*kernel)(P...), void** arguments) {
    apply(kernel, arguments, std::index_sequence_for<P...>());
}

template <class... P>
static int arity(void (*)(P...)) { return sizeof...(P); }

void host_call(void** arguments) { call(KERNEL, arguments); }

extern "C" int parameters() { return arity(KERNEL); }
