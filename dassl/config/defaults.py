"""The default settings: Dassl's tree and values for what is used here, a line of meaning each.

A trainer's own options are added to ``cfg.TRAINER`` beside the trainer.
"""

from dassl.config.node import CfgNode as CN
from dassl.config.node import Config

_C = Config()

_C.VERSION = 1  # of Dassl's settings; nothing reads it
_C.OUTPUT_DIR = "./output"  # folder for checkpoints, logs and results
_C.RESUME = ""  # folder of the run to resume; "" resumes what OUTPUT_DIR holds, if anything
_C.SEED = -1  # seed of all random numbers; negative: not seeded
_C.USE_CUDA = True  # use the GPU when there is one
_C.VERBOSE = True  # print a summary of the data set

_C.INPUT = CN()
_C.INPUT.SIZE = (224, 224)  # pixels: height, width
_C.INPUT.INTERPOLATION = "bilinear"  # of every resize: nearest, bilinear or bicubic
_C.INPUT.TRANSFORMS = ()  # what to apply, see dassl.data.transforms.AVAI_CHOICES
_C.INPUT.NO_TRANSFORM = False  # build no transform at all, for a trainer that brings its own loaders
_C.INPUT.EXIF_ORIENTATION = False  # turn photos upright, as their EXIF entry says; Dassl reads them as stored
_C.INPUT.PIXEL_MEAN = [0.485, 0.456, 0.406]  # normalize: mean per channel of values in 0..1
_C.INPUT.PIXEL_STD = [0.229, 0.224, 0.225]  # normalize: standard deviation per channel
_C.INPUT.CROP_PADDING = 4  # random_crop: pixels of black padding on each side
_C.INPUT.RRCROP_SCALE = (0.08, 1.0)  # random_resized_crop: range of the cropped share of the area
_C.INPUT.CUTOUT_N = 1  # cutout: number of holes
_C.INPUT.CUTOUT_LEN = 16  # cutout: side of a hole in pixels
_C.INPUT.GN_MEAN = 0.0  # gaussian_noise: mean
_C.INPUT.GN_STD = 0.15  # gaussian_noise: standard deviation
_C.INPUT.RANDAUGMENT_N = 2  # randaugment, randaugment2, randaugment_fixmatch: operations on an image
_C.INPUT.RANDAUGMENT_M = 10  # randaugment: strength of every operation, 0 to 30
_C.INPUT.COLORJITTER_B = 0.4  # colorjitter: largest change of brightness, a factor of 1 +- this
_C.INPUT.COLORJITTER_C = 0.4  # colorjitter: largest change of contrast, a factor of 1 +- this
_C.INPUT.COLORJITTER_S = 0.4  # colorjitter: largest change of saturation, a factor of 1 +- this
_C.INPUT.COLORJITTER_H = 0.1  # colorjitter: largest shift of hue, as a share of the colour circle
_C.INPUT.RGS_P = 0.2  # randomgrayscale: probability
_C.INPUT.GB_P = 0.5  # gaussian_blur: probability
_C.INPUT.GB_K = 21  # gaussian_blur: side of the kernel in pixels, odd

_C.DATASET = CN()
_C.DATASET.ROOT = ""  # folder that holds the data sets
_C.DATASET.NAME = ""  # registered name of the data set
_C.DATASET.SOURCE_DOMAINS = ()  # names of the training domains, where a data set has domains
_C.DATASET.TARGET_DOMAINS = ()  # names of the test domains, where a data set has domains
_C.DATASET.TEMPLATE = ""  # prompt of a class name, such as "a photo of a {}."; "": the data set's own
_C.DATASET.NUM_SHOTS = -1  # training images per class; below 1: all of them
_C.DATASET.NUM_LABELED = -1  # labelled images of a semi-supervised data set, in all
_C.DATASET.VAL_PERCENT = 0.1  # share of validation images of a semi-supervised data set
_C.DATASET.ALL_AS_UNLABELED = False  # the labelled images are among the unlabelled ones too
_C.DATASET.STL10_FOLD = -1  # fold of STL-10, 0 to 9; negative: none
_C.DATASET.CIFAR_C_TYPE = ""  # corruption of CIFAR-10-C and CIFAR-100-C
_C.DATASET.CIFAR_C_LEVEL = 1  # its strength, 1 to 5
_C.DATASET.SUBSAMPLE_CLASSES = "all"  # all, base (first half of the labels, rounded up) or new (the rest)

_C.DATALOADER = CN()
_C.DATALOADER.NUM_WORKERS = -1  # processes that load images, at most one per CPU core; -1: so many, up to 16
_C.DATALOADER.K_TRANSFORMS = 1  # augmented views per training image; above 1 "img" is a list
_C.DATALOADER.RETURN_IMG0 = False  # also give the unaugmented image, as "img0"
_C.DATALOADER.CACHE_MB = 2048  # memory for decoded or resized images, in MB of 10^6 bytes; 0: none is kept
_C.DATALOADER.TRAIN_X = CN()
_C.DATALOADER.TRAIN_X.SAMPLER = "RandomSampler"  # see dassl.data.samplers
_C.DATALOADER.TRAIN_X.BATCH_SIZE = 32  # images per step
_C.DATALOADER.TRAIN_X.N_DOMAIN = 0  # domains per batch, for the domain samplers; 0: all
_C.DATALOADER.TRAIN_X.N_INS = 16  # images per class in a batch, for RandomClassSampler
_C.DATALOADER.TRAIN_X.DROP_LAST = True  # drop the incomplete last batch of an epoch
_C.DATALOADER.TRAIN_U = CN()  # unlabelled training images, where a data set has them
_C.DATALOADER.TRAIN_U.SAME_AS_X = True  # take the settings of TRAIN_X
_C.DATALOADER.TRAIN_U.SAMPLER = "RandomSampler"  # as in TRAIN_X
_C.DATALOADER.TRAIN_U.BATCH_SIZE = 32  # as in TRAIN_X
_C.DATALOADER.TRAIN_U.N_DOMAIN = 0  # as in TRAIN_X
_C.DATALOADER.TRAIN_U.N_INS = 16  # as in TRAIN_X
_C.DATALOADER.TEST = CN()
_C.DATALOADER.TEST.SAMPLER = "SequentialSampler"  # as in TRAIN_X, for validation and test
_C.DATALOADER.TEST.BATCH_SIZE = 32  # images per batch, for validation and test

_C.MODEL = CN()
_C.MODEL.INIT_WEIGHTS = ""  # checkpoint file to start from; "": none
_C.MODEL.BACKBONE = CN()
_C.MODEL.BACKBONE.NAME = ""  # architecture of the backbone
_C.MODEL.BACKBONE.PRETRAINED = True  # start from weights that the backbone finds by itself
_C.MODEL.BACKBONE.PATH = ""  # file of the backbone's weights; "": where NAME's are usually found
_C.MODEL.BACKBONE.ACTIVATION = ""  # gelu or quick_gelu, where the weights' file is of unknown origin
_C.MODEL.BACKBONE.HEAD_WIDTH = 0  # width of an attention head of its image tower, likewise; 0: not said
_C.MODEL.HEAD = CN()
_C.MODEL.HEAD.NAME = ""  # head on top of the backbone, for trainers that have a choice
_C.MODEL.HEAD.HIDDEN_LAYERS = ()  # width of each layer of the head; none: no head
_C.MODEL.HEAD.ACTIVATION = "relu"  # relu or leaky_relu
_C.MODEL.HEAD.BN = True  # batch normalisation after every layer of the head
_C.MODEL.HEAD.DROPOUT = 0.0  # dropout after every layer of the head

_C.OPTIM = CN()
_C.OPTIM.NAME = "adam"  # sgd, adam, amsgrad, adamw, radam or rmsprop
_C.OPTIM.LR = 0.0003  # learning rate
_C.OPTIM.WEIGHT_DECAY = 5e-4  # added to the gradient as this times the weight (adamw, radam: decoupled)
_C.OPTIM.MOMENTUM = 0.9  # sgd, rmsprop
_C.OPTIM.SGD_DAMPNING = 0.0  # sgd: dampening of the momentum
_C.OPTIM.SGD_NESTEROV = False  # sgd: Nesterov momentum
_C.OPTIM.RMSPROP_ALPHA = 0.99  # rmsprop: smoothing of the squared gradient
_C.OPTIM.ADAM_BETA1 = 0.9  # adam, amsgrad, adamw, radam: decay of the mean gradient
_C.OPTIM.ADAM_BETA2 = 0.999  # adam, amsgrad, adamw, radam: decay of the mean squared gradient
_C.OPTIM.ADAM_EPS = 1e-8  # adam, amsgrad, adamw, radam: added to the root of the mean squared gradient
_C.OPTIM.STAGED_LR = False  # a smaller learning rate for all layers but NEW_LAYERS
_C.OPTIM.NEW_LAYERS = ()  # staged learning rate: names of the layers that get the full LR
_C.OPTIM.BASE_LR_MULT = 0.1  # staged learning rate: factor on LR for all other layers
_C.OPTIM.LR_SCHEDULER = "single_step"  # single_step, multi_step or cosine
_C.OPTIM.STEPSIZE = (-1,)  # epochs: between steps (single_step) or of each step (multi_step)
_C.OPTIM.GAMMA = 0.1  # single_step, multi_step: factor on the learning rate at a step
_C.OPTIM.MAX_EPOCH = 10  # epochs of training
_C.OPTIM.WARMUP_EPOCH = -1  # epochs of warm-up; below 1: none
_C.OPTIM.WARMUP_TYPE = "linear"  # linear or constant
_C.OPTIM.WARMUP_CONS_LR = 1e-5  # constant warm-up: learning rate
_C.OPTIM.WARMUP_MIN_LR = 1e-5  # linear warm-up: learning rate of the first epoch
_C.OPTIM.WARMUP_RECOUNT = True  # the scheduler counts its epochs from the end of the warm-up

_C.TRAIN = CN()
_C.TRAIN.CHECKPOINT_FREQ = 0  # epochs between checkpoints; 0: only after the last epoch
_C.TRAIN.PRINT_FREQ = 10  # batches between progress lines
_C.TRAIN.COUNT_ITER = "train_x"  # steps of an epoch on two loaders: train_x, train_u or smaller_one
_C.TRAIN.TENSORBOARD = False  # write curves to OUTPUT_DIR/tensorboard
_C.TRAIN.LOGGER = "none"  # who else gets the curves: tensorboard, wandb (offline) or trackio (local)

_C.TEST = CN()
_C.TEST.EVALUATOR = "Classification"  # registered name of the evaluator
_C.TEST.PER_CLASS_RESULT = False  # print the accuracy of every class
_C.TEST.COMPUTE_CMAT = False  # write the confusion matrix to OUTPUT_DIR, as cmat.npz and cmat.pt
_C.TEST.NO_TEST = False  # no evaluation after training
_C.TEST.SPLIT = "test"  # test or val
_C.TEST.FINAL_MODEL = "last_step"  # model to evaluate after training: last_step or best_val
_C.TEST.TEMPERATURE_SCALING = False  # fit a temperature to the validation images, kept beside the prompts
_C.TEST.CACHE_FEATURES = True  # keep the test features of a frozen image tower on disk, for all runs
_C.TEST.SAVE_LOGITS = False  # write the logits of an evaluation to OUTPUT_DIR/logits.npz

_C.TRAINER = CN()
_C.TRAINER.NAME = ""  # registered name of the trainer
