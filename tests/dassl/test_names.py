"""What the family's trainers and data sets import."""

import importlib

import pytest

NAMES = {
    "dassl.config": "get_cfg_default clean_cfg",
    "dassl.data": "DataManager",
    "dassl.data.data_manager": "DataManager DatasetWrapper build_data_loader",
    "dassl.data.datasets": "DATASET_REGISTRY Datum DatasetBase build_dataset",
    "dassl.data.samplers": "build_sampler RandomDomainSampler SeqDomainSampler RandomClassSampler",
    "dassl.data.transforms": "INTERPOLATION_MODES build_transform",
    "dassl.data.transforms.transforms": "INTERPOLATION_MODES build_transform",
    "dassl.engine": "TRAINER_REGISTRY TrainerBase SimpleTrainer TrainerX build_trainer",
    "dassl.engine.trainer": "TrainerBase SimpleTrainer TrainerX",
    "dassl.evaluation": "EVALUATOR_REGISTRY EvaluatorBase build_evaluator",
    "dassl.metrics": "compute_accuracy compute_ci95",
    "dassl.optim": "build_optimizer build_lr_scheduler",
    "dassl.utils": "AverageMeter MetricMeter Registry check_availability check_isfile collect_env_info "
    "count_num_param listdir_nohidden load_checkpoint load_pretrained_weights mkdir_if_missing "
    "open_all_layers open_specified_layers read_image read_json resume_from_checkpoint save_checkpoint "
    "set_random_seed setup_logger tolist_if_not write_json",
}


@pytest.mark.parametrize("module", NAMES)
def test_importable(module):
    missing = [name for name in NAMES[module].split() if not hasattr(importlib.import_module(module), name)]
    assert not missing
