/* Stands in for libnvidia-ml.so.1: what it says stands in the file that $NVML_STAND_IN names.

   driver CODE                       what every nvmlInit answers (0: it works)
   count CODE                        what nvmlDeviceGetCount answers
   hang                              calls about memory do not return while this line is there
   card UUID BUS TOTAL USED UTILISATION TEMPERATURE ECC GROUP
   mig CARD                          it is in MIG mode
   part CARD UUID TOTAL USED         of a card in MIG mode
   process CARD PID BYTES            CARD counts the lines above it from 0
   xid CARD NUMBER                   once per line of the file
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CARDS 16
#define PROCESSES 64
enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, INSUFFICIENT = 7, TIMEOUT = 10, LOST = 15 };

struct card {
    char uuid[96], bus[32];
    unsigned long long total, used;
    unsigned utilisation, temperature, ecc, group;
};
struct part { unsigned card; struct card facts; };
static struct part parts[CARDS];
static unsigned part_count, split[CARDS];
struct process { unsigned card, pid; unsigned long long bytes; };
static struct card cards[CARDS];
static struct process processes[PROCESSES];
static unsigned card_count, process_count, hang, xid_cards[PROCESSES], xids[PROCESSES], xid_count;
static int driver, count_code;
static unsigned told;

static void look(void)
{
    char line[512];
    FILE *file = fopen(getenv("NVML_STAND_IN"), "r");
    card_count = process_count = hang = xid_count = part_count = 0;
    memset(split, 0, sizeof split);
    driver = count_code = 0;
    while (file && fgets(line, sizeof line, file)) {
        struct card *c = &cards[card_count];
        struct process *p = &processes[process_count];
        struct part *m = &parts[part_count];
        unsigned number;
        sscanf(line, "driver %d", &driver);
        if (sscanf(line, "mig %u", &number) == 1)
            split[number] = 1;
        if (sscanf(line, "part %u %95s %llu %llu", &m->card, m->facts.uuid, &m->facts.total,
                   &m->facts.used) == 4)
            part_count++;
        sscanf(line, "count %d", &count_code);
        hang |= strncmp(line, "hang", 4) == 0;
        if (sscanf(line, "card %95s %31s %llu %llu %u %u %u %u", c->uuid, c->bus, &c->total,
                   &c->used, &c->utilisation, &c->temperature, &c->ecc, &c->group) == 8)
            card_count++;
        if (sscanf(line, "process %u %u %llu", &p->card, &p->pid, &p->bytes) == 3)
            process_count++;
        if (sscanf(line, "xid %u %u", &xid_cards[xid_count], &xids[xid_count]) == 2)
            xid_count++;
    }
    if (file)
        fclose(file);
}

static struct card *find(void *handle)
{
    size_t number = (size_t)handle - 1;
    look();
    if (number >= CARDS)
        return number - CARDS < part_count ? &parts[number - CARDS].facts : NULL;
    return number < card_count ? &cards[number] : NULL;
}

int nvmlInitWithFlags(unsigned flags) { look(); return driver; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return "the stand-in says so"; }

int nvmlSystemGetDriverVersion(char *text, unsigned size)
{
    snprintf(text, size, "550.00");
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    look();
    *count = card_count;
    return count_code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle)
{
    *handle = (void *)((size_t)index + 1);
    return find(*handle) ? OK : INVALID;
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned size)
{
    struct card *card = find(handle);
    if (card)
        snprintf(text, size, "%s", card->uuid);
    return card ? OK : LOST;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned size)
{
    snprintf(text, size, "Stand-in 24G");
    return OK;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending)
{
    size_t number = (size_t)handle - 1;
    if (!find(handle) || number >= CARDS)
        return NOT_SUPPORTED;
    *current = *pending = split[number];
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) { *count = 7; return OK; }

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **part)
{
    size_t number = (size_t)handle - 1;
    unsigned found = 0;
    look();
    for (unsigned i = 0; i < part_count; i++)
        if (parts[i].card == number && found++ == index) {
            *part = (void *)(size_t)(CARDS + i + 1);
            return OK;
        }
    return NOT_SUPPORTED;
}

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };

int nvmlDeviceGetPciInfo_v3(void *handle, struct pci *info)
{
    struct card *card = find(handle);
    if (card)
        snprintf(info->bus_id, sizeof info->bus_id, "%s", card->bus);
    return card ? OK : LOST;
}

struct memory { unsigned version; unsigned long long total, reserved, free, used; };

int nvmlDeviceGetMemoryInfo_v2(void *handle, struct memory *memory)
{
    struct card *card = find(handle);
    while (hang) {
        usleep(20000);
        card = find(handle);
    }
    if (!card)
        return LOST;
    memory->total = card->total;
    memory->used = card->used;
    return OK;
}

struct info { unsigned pid; unsigned long long bytes; unsigned gpu, compute; };

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, struct info *infos)
{
    unsigned found = 0;
    if (!find(handle))
        return LOST;
    for (unsigned i = 0; i < process_count; i++) {
        if (processes[i].card != (size_t)handle - 1)
            continue;
        if (infos && found < *count)
            infos[found] = (struct info){processes[i].pid, processes[i].bytes, 0, 0};
        found++;
    }
    int fits = infos ? found <= *count : !found;
    *count = found;
    return fits ? OK : INSUFFICIENT;
}

int nvmlDeviceGetUtilizationRates(void *handle, unsigned rates[2])
{
    struct card *card = find(handle);
    if (card)
        rates[0] = card->utilisation;
    return card ? OK : LOST;
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius)
{
    struct card *card = find(handle);
    if (card)
        *celsius = card->temperature;
    return card ? OK : LOST;
}

int nvmlDeviceGetTemperatureThreshold(void *handle, int which, unsigned *celsius)
{
    *celsius = 95;
    return OK;
}

int nvmlDeviceGetTotalEccErrors(void *handle, int type, int counter, unsigned long long *count)
{
    struct card *card = find(handle);
    if (card)
        *count = card->ecc;
    return card ? OK : NOT_SUPPORTED;
}

int nvmlDeviceGetTopologyCommonAncestor(void *one, void *two, int *level)
{
    struct card *card = find(one);
    unsigned group = card ? card->group : 0;
    card = find(two);
    *level = card && card->group == group ? 30 : 50;
    return OK;
}

int nvmlEventSetCreate(void **set) { *set = &told; return OK; }
int nvmlDeviceRegisterEvents(void *handle, unsigned long long types, void *set) { return OK; }

struct event { void *device; unsigned long long type, data; unsigned gpu, compute; };

int nvmlEventSetWait_v2(void *set, struct event *event, unsigned timeout_ms)
{
    look();
    if (told >= xid_count)
        return TIMEOUT;
    event->device = (void *)((size_t)xid_cards[told] + 1);
    event->data = xids[told++];
    return OK;
}
