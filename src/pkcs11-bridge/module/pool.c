#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "hello.h"
#include "socket.h"

/* More threads than this that sign at once wait for each other. */
enum { ENTRIES = 256 };

enum use { UNUSED, IDLE, BUSY };

/* `device` and `inode` recognise our socket after an application closed all descriptors. */
struct entry {
  enum use use;
  int fd;
  dev_t device;
  ino_t inode;
  uint64_t generation;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct entry entries[ENTRIES];
static uint64_t current; /* 0: closed */
static char socket_path[CONFIG_SOCKET_MAX + 1];
static uint8_t application[HELLO_APPLICATION_SIZE];

static bool is_ours(const struct entry *entry)
{
  struct stat status;
  return fstat(entry->fd, &status) == 0 && status.st_dev == entry->device &&
         status.st_ino == entry->inode;
}

/* Never closes a number that the application has taken for something else. */
static void drop(struct entry *entry)
{
  if (entry->fd >= 0 && is_ours(entry)) (void)close(entry->fd);
  entry->fd = -1;
  entry->use = UNUSED;
}

/* An idle socket has nothing to read: data or the end of the stream both mean it is of no use. */
static bool is_quiet(int fd)
{
  char byte;
  return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

bool pool_open(uint64_t generation, const char *path)
{
  uint8_t id[HELLO_APPLICATION_SIZE];
  if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id) return false;
  (void)pthread_mutex_lock(&lock);
  current = generation;
  memcpy(socket_path, path, strlen(path) + 1);
  memcpy(application, id, sizeof id);
  (void)pthread_mutex_unlock(&lock);
  return true;
}

/* With the lock held. */
static void drop_idle(void)
{
  for (unsigned i = 0; i < ENTRIES; i++) {
    if (entries[i].use == IDLE) drop(&entries[i]);
  }
}

void pool_close_idle(void)
{
  (void)pthread_mutex_lock(&lock);
  drop_idle();
  (void)pthread_mutex_unlock(&lock);
}

void pool_close(void)
{
  (void)pthread_mutex_lock(&lock);
  current = 0;
  drop_idle();
  for (unsigned i = 0; i < ENTRIES; i++) {
    struct entry *entry = &entries[i];
    /* Its owner will see the end of the stream and close it. */
    if (entry->use == BUSY && is_ours(entry)) (void)shutdown(entry->fd, SHUT_RDWR);
  }
  (void)pthread_mutex_unlock(&lock);
}

void pool_abandon_in_child(void)
{
  static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
  for (unsigned i = 0; i < ENTRIES; i++) drop(&entries[i]);
  explicit_bzero(application, sizeof application);
  current = 0;
  lock = fresh; /* another thread of the parent may have held it */
}

/* With the lock held. */
static struct entry *find_entry(enum use use)
{
  for (unsigned i = 0; i < ENTRIES; i++) {
    if (entries[i].use == use) return &entries[i];
  }
  return NULL;
}

static enum acquired take_idle(uint64_t generation, struct connection *connection)
{
  struct entry *entry = NULL;
  while ((entry = find_entry(IDLE)) != NULL) {
    if (entry->generation == generation && is_ours(entry) && is_quiet(entry->fd)) {
      entry->use = BUSY;
      *connection = (struct connection){.fd = entry->fd, .entry = (unsigned)(entry - entries), .reused = true};
      return ACQUIRED;
    }
    drop(entry);
  }
  return ACQUIRE_UNREACHABLE;
}

static enum acquired take_new(uint64_t generation, struct connection *connection)
{
  struct entry *entry = find_entry(UNUSED);
  if (entry == NULL) return ACQUIRE_UNREACHABLE;
  struct stat status;
  int fd = socket_create();
  if (fd < 0) return ACQUIRE_UNREACHABLE;
  if (fstat(fd, &status) != 0) {
    (void)close(fd);
    return ACQUIRE_UNREACHABLE;
  }
  *entry = (struct entry){BUSY, fd, status.st_dev, status.st_ino, generation};
  *connection = (struct connection){.fd = fd, .entry = (unsigned)(entry - entries)};
  return ACQUIRED;
}

static bool is_current(uint64_t generation)
{
  (void)pthread_mutex_lock(&lock);
  bool same = current == generation;
  (void)pthread_mutex_unlock(&lock);
  return same;
}

enum acquired pool_acquire(uint64_t generation, int64_t silence_ms, int64_t deadline, struct connection *connection)
{
  char path[sizeof socket_path];
  uint8_t id[sizeof application];
  *connection = (struct connection){.fd = -1};

  (void)pthread_mutex_lock(&lock);
  enum acquired result = current == generation ? take_idle(generation, connection) : ACQUIRE_CLOSED;
  bool dial = result == ACQUIRE_UNREACHABLE;
  if (dial) {
    result = take_new(generation, connection);
    memcpy(path, socket_path, sizeof path);
    memcpy(id, application, sizeof id);
  }
  (void)pthread_mutex_unlock(&lock);
  if (!dial || result != ACQUIRED) return result;

  enum greeting greeting = GREETING_NONE;
  enum io connected = socket_connect(connection->fd, path);
  connection->error = connected == IO_OK ? 0 : errno;
  /* A pool_close() before we were connected had nothing to shut down. */
  bool closed = !is_current(generation);
  if (connected == IO_OK && !closed) greeting = hello(connection->fd, id, silence_ms, deadline);
  explicit_bzero(id, sizeof id);
  if (greeting == GREETING_WELCOME) return ACQUIRED;
  pool_discard(connection);
  if (closed) return ACQUIRE_CLOSED;
  if (connected == IO_DENIED) return ACQUIRE_DENIED;
  if (greeting == GREETING_BUSY) return ACQUIRE_BUSY;
  return greeting == GREETING_INCOMPATIBLE ? ACQUIRE_INCOMPATIBLE : ACQUIRE_UNREACHABLE;
}

void pool_release(struct connection *connection)
{
  (void)pthread_mutex_lock(&lock);
  struct entry *entry = &entries[connection->entry];
  if (entry->generation == current) entry->use = IDLE;
  else drop(entry);
  (void)pthread_mutex_unlock(&lock);
}

void pool_discard(struct connection *connection)
{
  (void)pthread_mutex_lock(&lock);
  drop(&entries[connection->entry]);
  (void)pthread_mutex_unlock(&lock);
}
