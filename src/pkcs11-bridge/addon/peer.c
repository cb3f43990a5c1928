/*
 * Who is at the other end of a Unix socket, by the kernel's word: SO_PEERCRED, which Node.js cannot
 * ask for. One function for Node.js, in its stable interface: peer(fd) → [pid, uid, gid], or undefined
 * when the descriptor is no such socket.
 */
#include <node_api.h>
#include <stddef.h>
#include <sys/socket.h>

static napi_value peer(napi_env env, napi_callback_info info)
{
  napi_value argument, list = NULL;
  size_t count = 1;
  int32_t fd = -1;
  struct ucred found;
  socklen_t size = sizeof found;

  if (napi_get_cb_info(env, info, &count, &argument, NULL, NULL) != napi_ok) return NULL;
  if (count != 1 || napi_get_value_int32(env, argument, &fd) != napi_ok) return NULL;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &found, &size) != 0 || size != sizeof found) return NULL;
  const int64_t values[] = {found.pid, found.uid, found.gid};
  if (napi_create_array_with_length(env, 3, &list) != napi_ok) return NULL;
  for (uint32_t i = 0; i < 3; i++) {
    napi_value number;
    if (napi_create_int64(env, values[i], &number) != napi_ok) return NULL;
    if (napi_set_element(env, list, i, number) != napi_ok) return NULL;
  }
  return list;
}

NAPI_MODULE_INIT()
{
  napi_value function;
  if (napi_create_function(env, "peer", NAPI_AUTO_LENGTH, peer, NULL, &function) != napi_ok) return NULL;
  return napi_set_named_property(env, exports, "peer", function) == napi_ok ? exports : NULL;
}
