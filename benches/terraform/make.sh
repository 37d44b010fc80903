#!/bin/sh
# make.sh FOLDER COUNT: a Terraform configuration of COUNT terraform_data resources in the shape of benches/plan.rs (roles of 50:
# packages, a user, folders, files, services, each waiting for the ones before; no role waits for another, which spares Terraform
# the walk over long chains that its graph reduction makes: 2.5 times at 1,000, 4.3 times at 2,000), and a state in which all of them stand already.
# terraform_data is built in, so no provider is downloaded.
set -eu
folder=$1 count=$2
mkdir -p "$folder"
awk -v count="$count" -v config="$folder/main.tf" -v state="$folder/terraform.tfstate" '
function text(n,   t, i) {
  t = "resource " n
  for (i = 0; i < 12; i++) t = t " setting = value"
  return t
}
function needs(role, n,   list, i) {
  list = ""
  if (n == 5) for (i = 0; i < 5; i++) list = list " r" role * 50 + i
  else if (n > 5 && n < 10) list = " r" role * 50 + 5
  else if (n >= 10 && n < 48) list = " r" role * 50 + 6 + n % 4
  else if (n >= 48) for (i = 10; i < 48; i++) list = list " r" role * 50 + i
  return substr(list, 2)
}
BEGIN {
  print "terraform {\n  required_version = \">= 1.4\"\n}" > config
  print "{\"version\":4,\"terraform_version\":\"1.11.4\",\"serial\":1,\"lineage\":\"bench\",\"outputs\":{},\"resources\":[" > state
  for (r = 0; r < count; r++) {
    deps = needs(int(r / 50), r % 50)
    split(deps, d, " "); hcl = json = ""
    for (i = 1; i in d; i++) {
      hcl = hcl (i > 1 ? ", " : "") "terraform_data." d[i]
      json = json (i > 1 ? "," : "") "\"terraform_data." d[i] "\""
    }
    printf "resource \"terraform_data\" \"r%d\" {\n  input = \"%s\"\n%s}\n", r, text(r), hcl == "" ? "" : "  depends_on = [" hcl "]\n" > config
    printf "%s{\"mode\":\"managed\",\"type\":\"terraform_data\",\"name\":\"r%d\",\"provider\":\"provider[\\\"terraform.io/builtin/terraform\\\"]\",\"instances\":[{\"schema_version\":0,\"attributes\":{\"id\":\"00000000-0000-0000-0000-%012d\",\"input\":{\"value\":\"%s\",\"type\":\"string\"},\"output\":{\"value\":\"%s\",\"type\":\"string\"},\"triggers_replace\":null},\"sensitive_attributes\":[],\"dependencies\":[%s]}]}\n", r ? "," : "", r, r, text(r), text(r), json > state
  }
  print "],\"check_results\":null}" > state
}'
