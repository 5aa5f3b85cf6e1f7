"""What the family's trainers and data sets import."""

import importlib

import pytest

NAMES = {
    "dassl.config": "get_cfg_default clean_cfg",
    "dassl.data": "DataManager",
    "dassl.data.data_manager": "DataManager DatasetWrapper build_data_loader",
    "dassl.data.datasets": "DATASET_REGISTRY Datum DatasetBase build_dataset",
    "dassl.data.datasets.base_dataset": "Datum DatasetBase",
    "dassl.data.samplers": "build_sampler RandomDomainSampler SeqDomainSampler RandomClassSampler",
    "dassl.data.transforms": "INTERPOLATION_MODES build_transform",
    "dassl.data.transforms.transforms": "INTERPOLATION_MODES build_transform AVAI_CHOICES",
    "dassl.data.transforms.autoaugment": "ImageNetPolicy CIFAR10Policy SVHNPolicy",
    "dassl.data.transforms.randaugment": "RandAugment RandAugment2 RandAugmentFixMatch",
    "dassl.engine": "TRAINER_REGISTRY TrainerBase SimpleTrainer TrainerX TrainerXU SimpleNet build_trainer",
    "dassl.engine.trainer": "TrainerBase SimpleTrainer TrainerX TrainerXU SimpleNet SummaryWriter",
    "dassl.evaluation": "EVALUATOR_REGISTRY EvaluatorBase build_evaluator",
    "dassl.evaluation.evaluator": "EvaluatorBase Classification",
    "dassl.metrics": "compute_accuracy compute_ci95 compute_distance_matrix cosine_distance "
    "euclidean_squared_distance",
    "dassl.modeling": "BACKBONE_REGISTRY HEAD_REGISTRY NETWORK_REGISTRY build_backbone build_head "
    "build_network",
    "dassl.modeling.backbone": "BACKBONE_REGISTRY Backbone build_backbone",
    "dassl.modeling.backbone.backbone": "Backbone",
    "dassl.modeling.backbone.build": "BACKBONE_REGISTRY",
    "dassl.modeling.head": "HEAD_REGISTRY build_head",
    "dassl.modeling.network": "NETWORK_REGISTRY build_network",
    "dassl.modeling.ops": "ReverseGrad mixup cross_entropy",
    "dassl.modeling.ops.utils": "create_onehot ema_model_update linear_rampup reverse_index sharpen_prob "
    "shuffle_index sigmoid_rampup",
    "dassl.optim": "build_optimizer build_lr_scheduler",
    "dassl.optim.lr_scheduler": "ConstantWarmupScheduler LinearWarmupScheduler build_lr_scheduler",
    "dassl.optim.optimizer": "AVAI_OPTIMS build_optimizer",
    "dassl.optim.radam": "RAdam",
    "dassl.utils.logger": "Logger setup_logger",
    "dassl.utils.meters": "AverageMeter MetricMeter",
    "dassl.utils.registry": "Registry",
    "dassl.utils.tools": "mkdir_if_missing check_isfile read_json write_json set_random_seed download_url "
    "read_image collect_env_info listdir_nohidden get_most_similar_str_to_a_from_b check_availability "
    "tolist_if_not",
    "dassl.utils.torchtools": "save_checkpoint load_checkpoint resume_from_checkpoint open_all_layers "
    "open_specified_layers count_num_param load_pretrained_weights init_network_weights",
    "dassl.utils": "AverageMeter MetricMeter Registry check_availability check_isfile collect_env_info "
    "count_num_param download_url get_most_similar_str_to_a_from_b init_network_weights "
    "listdir_nohidden load_checkpoint load_pretrained_weights mkdir_if_missing "
    "open_all_layers open_specified_layers read_image read_json resume_from_checkpoint save_checkpoint "
    "set_random_seed setup_logger tolist_if_not write_json",
}


@pytest.mark.parametrize("module", NAMES)
def test_importable(module):
    missing = [name for name in NAMES[module].split() if not hasattr(importlib.import_module(module), name)]
    assert not missing
