#pragma once

#include <cstdint>

#include "ptx/platform.cuh"

// wgmma.mma_async m64nNk16, fp16 in, float32 sums, both operands K-major: the accumulators are the
// first N / 2 operands of the assembly, whose numbers are written out here.
namespace ifast::micro {

#define MICRO_REGISTERS_0            \
  "%0, %1, %2, %3, %4, %5, %6, %7, " \
  "%8, %9, %10, %11, %12, %13, %14, %15"
#define MICRO_REGISTERS_1                    \
  MICRO_REGISTERS_0                          \
  ", "                                       \
  "%16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, %25, %26, %27, %28, %29, %30, %31"
#define MICRO_REGISTERS_2                    \
  MICRO_REGISTERS_1                          \
  ", "                                       \
  "%32, %33, %34, %35, %36, %37, %38, %39, " \
  "%40, %41, %42, %43, %44, %45, %46, %47"
#define MICRO_REGISTERS_3                    \
  MICRO_REGISTERS_2                          \
  ", "                                       \
  "%48, %49, %50, %51, %52, %53, %54, %55, " \
  "%56, %57, %58, %59, %60, %61, %62, %63"
#define MICRO_REGISTERS_4                    \
  MICRO_REGISTERS_3                          \
  ", "                                       \
  "%64, %65, %66, %67, %68, %69, %70, %71, " \
  "%72, %73, %74, %75, %76, %77, %78, %79"
#define MICRO_REGISTERS_5                    \
  MICRO_REGISTERS_4                          \
  ", "                                       \
  "%80, %81, %82, %83, %84, %85, %86, %87, " \
  "%88, %89, %90, %91, %92, %93, %94, %95"
#define MICRO_REGISTERS_6                        \
  MICRO_REGISTERS_5                              \
  ", "                                           \
  "%96, %97, %98, %99, %100, %101, %102, %103, " \
  "%104, %105, %106, %107, %108, %109, %110, %111"
#define MICRO_REGISTERS_7                            \
  MICRO_REGISTERS_6                                  \
  ", "                                               \
  "%112, %113, %114, %115, %116, %117, %118, %119, " \
  "%120, %121, %122, %123, %124, %125, %126, %127"

#define MICRO_SUMS_0                                                                              \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), \
      "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]),    \
      "+f"(d[15])
#define MICRO_SUMS_1                                                                             \
  MICRO_SUMS_0, "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]),    \
      "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), \
      "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define MICRO_SUMS_2                                                                             \
  MICRO_SUMS_1, "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]),    \
      "+f"(d[38]), "+f"(d[39]), "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), \
      "+f"(d[45]), "+f"(d[46]), "+f"(d[47])
#define MICRO_SUMS_3                                                                             \
  MICRO_SUMS_2, "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]),    \
      "+f"(d[54]), "+f"(d[55]), "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), \
      "+f"(d[61]), "+f"(d[62]), "+f"(d[63])
#define MICRO_SUMS_4                                                                             \
  MICRO_SUMS_3, "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]),    \
      "+f"(d[70]), "+f"(d[71]), "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), \
      "+f"(d[77]), "+f"(d[78]), "+f"(d[79])
#define MICRO_SUMS_5                                                                             \
  MICRO_SUMS_4, "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]),    \
      "+f"(d[86]), "+f"(d[87]), "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), \
      "+f"(d[93]), "+f"(d[94]), "+f"(d[95])
#define MICRO_SUMS_6                                                                            \
  MICRO_SUMS_5, "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), \
      "+f"(d[102]), "+f"(d[103]), "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]),       \
      "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111])
#define MICRO_SUMS_7                                                                      \
  MICRO_SUMS_6, "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]),     \
      "+f"(d[117]), "+f"(d[118]), "+f"(d[119]), "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), \
      "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])

// d += a * b. `a` and `b` are descriptors, or `a` is the fragment of m16n8k16's A for each warp's
// 16 rows.
template <int kN>
struct Wgmma;

// The strings are the numbers of the operands behind the sums.
#define MICRO_WGMMA(kColumns, kLast, o0, o1, o2, o3, o4, o5)                                       \
  template <>                                                                                      \
  struct Wgmma<kColumns> {                                                                         \
    IFAST_DEVICE static void from_shared(float (&d)[kColumns / 2], std::uint64_t a,                \
                                         std::uint64_t b) {                                        \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " o2                                          \
                   ", 0;\n"                                                                        \
                   "wgmma.mma_async.sync.aligned.m64n" #kColumns                                   \
                   "k16.f32.f16.f16 {" MICRO_REGISTERS_##kLast "}, " o0 ", " o1                    \
                                                               ", p, 1, 1, 0, 0;\n}\n"             \
                   : MICRO_SUMS_##kLast                                                            \
                   : "l"(a), "l"(b), "r"(1));                                                      \
    }                                                                                              \
    IFAST_DEVICE static void from_registers(float (&d)[kColumns / 2], const std::uint32_t (&a)[4], \
                                            std::uint64_t b) {                                     \
      asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " o5                                          \
                   ", 0;\n"                                                                        \
                   "wgmma.mma_async.sync.aligned.m64n" #kColumns                                   \
                   "k16.f32.f16.f16 {" MICRO_REGISTERS_##kLast "}, {" o0 ", " o1 ", " o2 ", " o3   \
                                                               "}, " o4 ", p, 1, 1, 0;\n}\n"       \
                   : MICRO_SUMS_##kLast                                                            \
                   : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(1));                  \
    }                                                                                              \
  };

MICRO_WGMMA(32, 0, "%16", "%17", "%18", "%19", "%20", "%21")
MICRO_WGMMA(64, 1, "%32", "%33", "%34", "%35", "%36", "%37")
MICRO_WGMMA(96, 2, "%48", "%49", "%50", "%51", "%52", "%53")
MICRO_WGMMA(128, 3, "%64", "%65", "%66", "%67", "%68", "%69")
MICRO_WGMMA(160, 4, "%80", "%81", "%82", "%83", "%84", "%85")
MICRO_WGMMA(192, 5, "%96", "%97", "%98", "%99", "%100", "%101")
MICRO_WGMMA(224, 6, "%112", "%113", "%114", "%115", "%116", "%117")
MICRO_WGMMA(256, 7, "%128", "%129", "%130", "%131", "%132", "%133")
#undef MICRO_WGMMA
#undef MICRO_REGISTERS_0
#undef MICRO_SUMS_0
#undef MICRO_REGISTERS_1
#undef MICRO_SUMS_1
#undef MICRO_REGISTERS_2
#undef MICRO_SUMS_2
#undef MICRO_REGISTERS_3
#undef MICRO_SUMS_3
#undef MICRO_REGISTERS_4
#undef MICRO_SUMS_4
#undef MICRO_REGISTERS_5
#undef MICRO_SUMS_5
#undef MICRO_REGISTERS_6
#undef MICRO_SUMS_6
#undef MICRO_REGISTERS_7
#undef MICRO_SUMS_7

}  // namespace ifast::micro
