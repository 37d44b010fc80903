# Asks: {"asks":[{"kind":..,"cmdlet":"Get-..","parameters":{..},"properties":[..]}]}. Nothing is changed by it.
function Get-Answer($Ask) {
    $name = [string]$Ask['cmdlet']
    if ($name -cnotmatch '^Get-[A-Za-z0-9]+$') { throw 'only Get- is asked' }
    $parameters = @{}
    foreach ($key in $Ask['parameters'].Keys) { $parameters[$key] = $Ask['parameters'][$key] }
    $parameters['ErrorAction'] = 'Stop'
    $parameters['WarningAction'] = 'SilentlyContinue'
    $parameters['WarningVariable'] = 'warned'
    $warned = @()
    $objects = @()
    $failures = @()
    try {
        # A cmdlet that the account may not call is not there; the others are asked on.
        $command = Get-Command -Name $name -CommandType 'Cmdlet', 'Function'
        if ($command.Parameters.ContainsKey('ResultSize')) { $parameters['ResultSize'] = 'Unlimited' }
        foreach ($found in @(& $command @parameters)) {
            $parts = @()
            foreach ($property in $Ask['properties']) {
                # What the object does not have is left out: it was not seen, which is not "nothing".
                $has = $found.PSObject.Properties[$property]
                if ($null -ne $has) { $parts += ((Format-Text $property) + ':' + (Format-Value $has.Value 3)) }
            }
            $objects += ('{' + [string]::Join(',', [string[]]$parts) + '}')
        }
    } catch {
        $failures += (Format-Failure $_)
    }
    return '{"kind":' + (Format-Text ([string]$Ask['kind'])) + ',"objects":[' + [string]::Join(',', [string[]]$objects) + '],"warnings":' + (Format-List @($warned | ForEach-Object { [string]$_ }) 1) + ',"errors":[' + [string]::Join(',', [string[]]$failures) + ']}'
}

try {
    $asked = Read-Argument $Arguments
    . Open-Shell
    $answers = @()
    foreach ($ask in $asked['asks']) { $answers += (Get-Answer $ask) }
    Write-Answer ('{"answers":[' + [string]::Join(',', [string[]]$answers) + ']}')
} catch {
    Write-Answer ('{"failed":' + (Format-Failure $_) + '}')
} finally {
    Close-Shell
}
