// The fibers behind emulator.h, and the C interface that `trainer`'s tests open: launch a kernel by its name.
#include "emulator.h"

#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

thread_local Dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace {
constexpr std::size_t kStackBytes = 64 << 10;
constexpr std::size_t kSharedBytes = 228 << 10;
constexpr std::size_t kSharedGuardBytes = 4 << 10;
constexpr unsigned char kPoison = 0xff;  // NaN in every element type

std::unordered_map<std::string, EmulatedKernel>& kernels() {
  static std::unordered_map<std::string, EmulatedKernel> table;
  return table;
}

// Saves the registers that a call keeps on the stack, leaves the stack pointer in *from, and goes on with `to`. As
// swapcontext, without its two system calls a switch: an emulated launch makes a million of them.
extern "C" void emulator_switch(void** from, void* to);
#if defined(__x86_64__)
asm(R"(
.text
.globl emulator_switch
.hidden emulator_switch
.type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch, . - emulator_switch
)");
#else
#error "the emulator switches stacks on x86-64 only"
#endif

struct Fiber {
  void* top = nullptr;  // its stack pointer while it waits
  unsigned char* stack = nullptr;
  Dim3 index;
  bool done = false;
  const bool* waits_on = nullptr;  // runs again once this is true
};

// A place where `wanted` fibers meet: the last to come opens it for all.
struct Meeting {
  unsigned wanted = 0, arrived = 0;
  bool open[2] = {false, false};
  unsigned phase = 0;
};

struct Block {
  std::vector<Fiber> fibers;
  Meeting all;
  std::vector<Meeting> warps;
  std::vector<unsigned char> exchange;
  std::vector<unsigned char> shared;
  void* scheduler = nullptr;
  Fiber* running = nullptr;
  void (*call)(void**) = nullptr;
  void** arguments = nullptr;
};
thread_local Block* block = nullptr;

void fail(const char* kernel, const char* problem) {
  std::fprintf(stderr, "emulated kernel %s: %s\n", kernel, problem);
  std::abort();
}

void meet(Meeting& meeting) {
  unsigned phase = meeting.phase;
  if (++meeting.arrived == meeting.wanted) {
    meeting.arrived = 0;
    meeting.open[phase ^ 1] = false;
    meeting.phase = phase ^ 1;
    meeting.open[phase] = true;
    return;
  }
  Fiber* self = block->running;
  self->waits_on = &meeting.open[phase];
  emulator_switch(&self->top, block->scheduler);
}

void enter() {
  block->call(block->arguments);
  block->running->done = true;
  emulator_switch(&block->running->top, block->scheduler);
}

// Stacks of all fibers, one block's at a time; made once a thread, because most launches are small.
unsigned char* stacks() {
  static thread_local std::unique_ptr<unsigned char[]> memory(new unsigned char[1024 * kStackBytes]);
  return memory.get();
}

Meeting& own_warp() { return block->warps[threadIdx.x / 32]; }

void start(Fiber& fiber) {
  // What emulator_switch pops: six registers, and `enter` as the place to return to, the stack aligned as by a call.
  void** top = reinterpret_cast<void**>(fiber.stack + kStackBytes) - 2;
  top[0] = reinterpret_cast<void*>(enter);
  top -= 6;
  for (unsigned i = 0; i < 6; i++) top[i] = nullptr;
  fiber.top = top;
  fiber.done = false;
  fiber.waits_on = nullptr;
}

// Every fiber that can run does, in an order drawn anew for each round.
void run_block(const char* name, uint64_t& order) {
  for (;;) {
    std::size_t ran = 0, done = 0, count = block->fibers.size();
    order = order * 6364136223846793005ull + 1442695040888963407ull;
    std::size_t first = (order >> 33) % count;
    bool backwards = (order >> 32) & 1;
    for (std::size_t i = 0; i < count; i++) {
      std::size_t place = (first + i) % count;
      Fiber& fiber = block->fibers[backwards ? count - 1 - place : place];
      if (fiber.done) { done++; continue; }
      if (fiber.waits_on && !*fiber.waits_on) continue;
      fiber.waits_on = nullptr;
      block->running = &fiber;
      threadIdx = fiber.index;
      emulator_switch(&block->scheduler, fiber.top);
      ran++;
    }
    if (done == count) return;
    if (ran == 0) fail(name, "deadlock: some threads miss a barrier that others wait at");
  }
}
}  // namespace

void emulator_register(EmulatedKernel kernel) { kernels()[kernel.name] = kernel; }
unsigned char* emulator_shared() { return block->shared.data(); }
void __syncthreads() { meet(block->all); }
void __syncwarp() { meet(own_warp()); }
const unsigned char* warp_exchange(const void* mine, unsigned bytes) {
  unsigned char* table = &block->exchange[threadIdx.x / 32 * 32 * 64];
  std::memcpy(table + 64 * (threadIdx.x % 32), mine, bytes);
  __syncwarp();
  return table;
}
void warp_release() { __syncwarp(); }

extern "C" {
// 0 where the kernel ran; 1 unknown; 2 another number of parameters; 3 a parameter of another size; 4 block size.
int emulator_launch(const char* name, const unsigned* grid, unsigned threads, unsigned shared_bytes, void** arguments,
                    const unsigned* sizes, unsigned parameters, uint64_t order) {
  auto found = kernels().find(name);
  if (found == kernels().end()) return 1;
  const EmulatedKernel& kernel = found->second;
  if (parameters != kernel.parameters) return 2;
  for (unsigned i = 0; i < parameters; i++)
    if (sizes[i] != kernel.sizes[i]) return 3;
  if (threads == 0 || threads > 1024 || threads % 32 || shared_bytes > kSharedBytes) return 4;
  Block own;
  own.fibers.resize(threads);
  for (unsigned i = 0; i < threads; i++) own.fibers[i].stack = stacks() + i * kStackBytes;
  own.warps.resize(threads / 32);
  own.exchange.resize(threads * 64);
  own.call = kernel.call;
  own.arguments = arguments;
  block = &own;
  blockDim = {threads, 1, 1};
  gridDim = {grid[0], grid[1], grid[2]};
  for (unsigned z = 0; z < grid[2]; z++)
    for (unsigned y = 0; y < grid[1]; y++)
      for (unsigned x = 0; x < grid[0]; x++) {
        blockIdx = {x, y, z};
        own.shared.assign(shared_bytes + kSharedGuardBytes, kPoison);
        own.all = Meeting{threads};
        for (Meeting& warp : own.warps) warp = Meeting{32};
        for (unsigned i = 0; i < threads; i++) {
          own.fibers[i].index = {i, 0, 0};
          start(own.fibers[i]);
        }
        run_block(name, order);
        for (unsigned i = 0; i < kSharedGuardBytes; i++)
          if (own.shared[shared_bytes + i] != kPoison) fail(name, "wrote beyond its shared memory");
      }
  block = nullptr;
  return 0;
}

unsigned emulator_kernels() { return unsigned(kernels().size()); }
}
