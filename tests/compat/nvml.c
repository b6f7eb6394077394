/* A driver with four idle cards, for the older daemon: just what it asks. */
#include <stdio.h>
#include <string.h>

struct memory { unsigned long long total, free, used; };

int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { (void)code; return "error"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 4; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
    *device = (void *)(unsigned long)(index + 1);
    return index < 4 ? 0 : 2;
}
int nvmlDeviceGetIndex(void *device, unsigned *index)
{
    *index = (unsigned)(unsigned long)device - 1;
    return 0;
}
int nvmlDeviceGetUUID(void *device, char *text, unsigned size)
{
    snprintf(text, size, "GPU-%lu", (unsigned long)device - 1);
    return 0;
}
int nvmlDeviceGetName(void *device, char *text, unsigned size)
{
    (void)device;
    snprintf(text, size, "card");
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, struct memory *memory)
{
    (void)device;
    memory->total = memory->free = 16ULL << 30;
    memory->used = 0;
    return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, void *found)
{
    (void)device, (void)found;
    *count = 0;
    return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned *count, void *found)
{
    return nvmlDeviceGetComputeRunningProcesses_v3(device, count, found);
}
