// Compiled once for each instruction set: the including file defines PERSE_ISA (a namespace) and PERSE_USE_*.
#include "backward.h"
#include "forward.h"
#include "inspect.h"
#include "pose_mlp.h"
#include "pose_skin.h"
#include "pose_table.h"
#include "project.h"

#define PERSE_TEXT_OF(name) #name
#define PERSE_TEXT(name) PERSE_TEXT_OF(name)

namespace perse {
namespace PERSE_ISA {

extern const Kernel kernel;
const Kernel kernel = {PERSE_TEXT(PERSE_ISA),
                       project,
                       kBlocks,
                       {forward_tile<3>, forward_tile<4>, forward_tile<8>},
                       inspect_tile,
                       {backward_tile<3>, backward_tile<4>, backward_tile<8>},
                       gather,
                       unproject,
                       {kW, skin, skin_backward, table, mlp_forward, mlp_backward}};

}  // namespace PERSE_ISA
}  // namespace perse
