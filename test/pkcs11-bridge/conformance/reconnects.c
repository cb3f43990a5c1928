/* Thousands of applications' lives in one process: each connects, asks and ends. Nothing is left of them. */
#include <dirent.h>
#include <stdio.h>

#include "suite.h"

static long resident_pages(void)
{
  long total = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  HOLDS(file != NULL && fscanf(file, "%ld %ld", &total, &resident) == 2);
  if (file != NULL) (void)fclose(file);
  return resident;
}

static int descriptors(void)
{
  int count = 0;
  DIR *directory = opendir("/proc/self/fd");
  while (directory != NULL && readdir(directory) != NULL) count++;
  if (directory != NULL) (void)closedir(directory);
  return count;
}

void check_reconnects(int rounds)
{
  enum { GROWTH_MAX_PAGES = 64 };
  int before = descriptors();
  long pages = 0;
  for (int i = 0; i < rounds; i++) {
    CK_OBJECT_HANDLE found;
    CK_ULONG count = 0;
    EXPECT(p11->C_Initialize(NULL), CKR_OK);
    CK_SESSION_HANDLE session = open_session(0);
    EXPECT(p11->C_FindObjectsInit(session, NULL, 0), CKR_OK);
    EXPECT(p11->C_FindObjects(session, &found, 1, &count), CKR_OK);
    HOLDS(count == 1);
    EXPECT(p11->C_Finalize(NULL), CKR_OK);
    if (i == rounds / 5) pages = resident_pages();
  }
  HOLDS(descriptors() == before);
  HOLDS(resident_pages() - pages <= GROWTH_MAX_PAGES);
}
